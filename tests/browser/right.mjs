// What all scripts here do alike: starting the browser, and looking at what every page keeps to.
import fs from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function launched(executablePath) {
  return chromium.launch({
    executablePath,
    // It was installed a moment ago, perhaps, and lies on a disk that others use.
    timeout: 180_000,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
  });
}

/// What every page keeps to: no rule of accessibility is broken, and it fits the screen.
export async function isRight(page, name) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  check(passes.length > 10, `${name}: only ${passes.length} rules were looked at`);
  const told = violations.map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
  check(told.length === 0, `${name}: ${told.join("\n")}`);
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(wide <= screen, `${name} is ${wide} wide on a screen of ${screen}`);
}

export function check(holds, sentence) {
  if (!holds) throw new Error(sentence);
}
