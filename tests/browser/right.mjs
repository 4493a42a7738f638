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
  // A click ends when the next page begins to arrive.
  await page.waitForLoadState();
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  check(passes.length > 10, `${name}: only ${passes.length} rules were looked at`);
  const told = violations.map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
  check(told.length === 0, `${name}: ${told.join("\n")}`);
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(wide <= screen, `${name} is ${wide} wide on a screen of ${screen}`);
  const cut = await page.evaluate(unseen);
  check(cut.length === 0, `${name} is cut on a screen of ${screen}: ${cut.join("\n")}`);
}

/// Runs in the page: returns what has something beyond its right edge, or the screen's.
function unseen() {
  const shown = (it) => it.checkVisibility() && !it.closest(".hidden, .skip, option");
  // Of its own words, not of those of elements inside it.
  const words = (it) => [...it.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).flatMap((node) => {
    const range = document.createRange();
    range.selectNode(node);
    return [...range.getClientRects()].map((box) => box.right);
  });
  // What does not fit a cell lies on the next one.
  const bounded = (it) => ["TD", "TH"].includes(it.tagName) || getComputedStyle(it).overflowX !== "visible";
  const moves = (it) => bounded(it) && it.scrollWidth > it.clientWidth + 1;
  const may = (it) => it.closest("pre, svg") || ["INPUT", "SELECT"].includes(it.tagName);
  return [...document.querySelectorAll("body *")]
    .filter(shown)
    .filter((it) => Math.max(it.getBoundingClientRect().right, ...words(it)) > innerWidth + 1 || (moves(it) && !may(it)))
    .map((it) => it.outerHTML.slice(0, 160));
}

export function check(holds, sentence) {
  if (!holds) throw new Error(sentence);
}
