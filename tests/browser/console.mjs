// Looks at every page and does every act in a real browser: one argument, a JSON object of what there is to look at.
// Each check prints `ok NAME`; the first that fails says what it saw.
import fs from "node:fs";
import { check, isRight, launched } from "./right.mjs";

const there = JSON.parse(process.argv[2]);
const browser = await launched(there.chromium);
const DESK = { width: 1280, height: 800 }, PHONE = { width: 390, height: 844 };
const seen = [];

try {
  await signsIn();
  await eachPageIsRight();
  await followsWhatHappens();
  await acts();
  await eachRole();
  await byKeysAlone();
  await withoutScripts();
  await theSchemeIsKept();
} finally {
  await browser.close();
}

/// A browser of its own, in which whatever goes wrong fails the check.
async function opened(options = {}) {
  const context = await browser.newContext({ viewport: DESK, ...options });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  page.refusals = 0;
  page.on("console", (message) => {
    // A refusal that was asked for is told as a failed load.
    const asked = page.refusals > 0 && /status of (401|403|404|409|400)/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !asked) seen.push(`${page.url()} said: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.push(`${page.url()} failed: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(there.url)) seen.push(`${page.url()} asked ${request.url()}`);
  });
  return page;
}

async function signedIn(key, next, options) {
  const page = await opened(options);
  await page.goto(there.url + next);
  check(new URL(page.url()).pathname === "/sign-in", `${next} is shown to nobody: ${page.url()}`);
  await page.fill("#key", key);
  await Promise.all([page.waitForURL(there.url + next), page.click("button:text('Sign in')")]);
  return page;
}

async function signsIn() {
  const page = await opened();
  page.refusals = 1;
  await page.goto(`${there.url}/admin`);
  await page.fill("#key", "wrong");
  await page.click("button:text('Sign in')");
  await sees(page, "[role=alert]", "invalid API key");
  await isRight(page, "sign-in refused");
  await page.fill("#key", there.keys.admin);
  await page.click("button:text('Sign in')");
  await page.waitForURL(`${there.url}/admin`);
  const [cookie] = await page.context().cookies();
  check(cookie.httpOnly && cookie.sameSite === "Strict" && !cookie.value.includes(there.keys.admin), JSON.stringify(cookie));
  await page.click("button:text('Sign out')");
  await page.waitForURL(`${there.url}/sign-in`);
  check((await page.context().cookies()).length === 0, "the cookie is gone");
  await close(page, "signing in and out");
}

async function eachPageIsRight() {
  const admin = ["/admin", "/admin?reach=24h", "/admin/jobs", `/admin/jobs/${there.jobs.done}`, `/admin/jobs/${there.jobs.failed}`,
    `/admin/jobs/${there.jobs.waiting}`, "/admin/models", "/admin/workers", "/admin/usage", "/admin/usage?by=tenant,model", "/admin/tenants", "/admin/tenants/ada", "/admin/keys", "/admin/jobs?state=expired"];
  const own = ["/me", `/me/jobs/${there.jobs.done}`, `/me/jobs/${there.jobs.failed}`];
  for (const [key, paths] of [[there.keys.admin, admin], [there.keys.ada, own], [there.keys.audit, ["/admin/audit", "/admin/audit?outcome=refused"]]]) {
    const page = await signedIn(key, paths[0].split("?")[0]);
    for (const path of paths) {
      for (const viewport of [DESK, PHONE]) {
        await page.setViewportSize(viewport);
        const answer = await page.goto(there.url + path);
        check(answer.status() === 200, `${path}: ${answer.status()}`);
        const bytes = (await answer.body()).length;
        check(bytes < 100_000, `${path} has ${bytes} bytes`);
        for (const scheme of ["light", "dark"]) {
          await page.emulateMedia({ colorScheme: scheme });
          await isRight(page, `${path} ${scheme}`);
        }
        if (viewport === PHONE) {
          // So does what is told when it is asked for.
          await page.$$eval("details", (all) => all.forEach((one) => { one.open = true; }));
          await isRight(page, `${path}, opened`);
        }
        if (/^\/admin(\/(jobs|models|workers|usage|tenants|keys))?$/.test(path)) {
          check((await page.locator("#status").count()) === 1, `${path} does not say whether anything is wrong`);
        }
        if (path === "/admin" && viewport === DESK) {
          const cut = await page.$$eval(".columns .scroll", (all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.ariaLabel));
          check(cut.length === 0, `${cut} does not fit beside the other`);
        }
      }
    }
    await close(page, `pages of ${Object.keys(there.keys).find((name) => there.keys[name] === key)}`);
  }
  await pictures();
}

async function pictures() {
  const take = async (page, path, name, viewport, scheme, clip, open) => {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(there.url + path);
    await page.waitForFunction(() => document.querySelector("[data-live]") === null || document.documentElement.dataset.live === "yes");
    if (open) await page.locator(open).first().click();
    await page.mouse.move(640, 2);
    await page.screenshot({ path: `${there.pictures}/${name}.png`, fullPage: !clip });
  };
  const admin = await signedIn(there.keys.admin, "/admin");
  await take(admin, "/admin?reach=24h", "admin", { width: 1280, height: 900 }, "light");
  await take(admin, "/admin?reach=24h", "admin-dark", { width: 1280, height: 900 }, "dark");
  await take(admin, "/admin?reach=24h", "admin-phone", PHONE, "light", true);
  await take(admin, "/admin/jobs", "jobs", { width: 1280, height: 600 }, "light", true);
  await take(admin, "/admin/workers", "workers", { width: 1280, height: 600 }, "light", true);
  await take(admin, "/admin/workers", "workers-dark", { width: 1280, height: 600 }, "dark", true);
  await take(admin, "/admin/workers", "workers-phone", PHONE, "dark", false);
  await take(admin, "/admin/tenants", "tenants", { width: 1280, height: 400 }, "light", true);
  await take(admin, "/admin/tenants/ada", "tenant", { width: 1280, height: 660 }, "dark", true, "summary:text('Change the quota')");
  await take(admin, "/admin/models", "models", { width: 1280, height: 480 }, "light", true, "#models summary:text('Change')");
  await take(admin, "/admin/models", "models-dark", { width: 1280, height: 480 }, "dark", true, "#models summary:text('Evict')");
  await take(admin, "/admin/models", "models-phone", PHONE, "dark", false, "#models summary:text('Change')");
  await take(admin, "/admin/tenants/ada", "tenant-phone", PHONE, "light", false, "summary:text('Change the quota')");
  await take(admin, "/admin/keys", "keys", { width: 1280, height: 400 }, "dark", true);
  await close(admin, "pictures of /admin");
  const ada = await signedIn(there.keys.ada, "/me");
  await take(ada, "/me", "me", { width: 1280, height: 800 }, "light");
  await take(ada, `/me/jobs/${there.jobs.waiting}`, "job-waiting", { width: 1280, height: 800 }, "dark");
  await take(ada, "/me", "me-phone", PHONE, "dark", false);
  await take(ada, `/me/jobs/${there.jobs.failed}`, "job", { width: 1280, height: 700 }, "light");
  await close(ada, "pictures of /me");
}

async function followsWhatHappens() {
  const admin = await signedIn(there.keys.admin, "/admin");
  const ada = await signedIn(there.keys.ada, "/me");
  await sees(admin, "#queue", "no room: all 8 places are taken");
  await sees(ada, "#mine", "no room");
  const running = await signedIn(there.keys.ada, `/me/jobs/${there.jobs.first}`);
  await sees(running, "#job", "in pass 18, at layer 5 of 12");
  check((await running.locator("svg.layers rect.at").count()) === 1, "the layer that it is at is drawn");
  await isRight(running, "a job that runs");
  await running.setViewportSize(PHONE);
  await running.emulateMedia({ colorScheme: "dark" });
  await isRight(running, "a job that runs, on a phone");
  await sees(ada, "#mine", "in pass 18, at layer 5 of 12");
  await admin.goto(`${there.url}/admin/workers`);
  await sees(admin, "#map", "8 jobs");
  check((await admin.locator("#map svg rect.busy").count()) > 0, "a model that has jobs is drawn");
  await sees(admin, "#memory", "512 MiB");
  await admin.goto(`${there.url}/admin/jobs/${there.jobs.first}`);
  await sees(admin, "main", "How far its passes go");
  check(await admin.locator("a.graph img").evaluate((it) => it.decode().then(() => it.naturalWidth)) > 700, "how far passes go is drawn");
  const drawing = await admin.evaluate((path) => fetch(path).then((it) => it.text()), `/admin/jobs/${there.jobs.first}/graph.svg`);
  check(drawing.startsWith("<svg") && !drawing.includes("canned") && !drawing.includes(".py"), `a program's text is for its own tenant: ${drawing}`);
  await admin.goto(`${there.url}/admin`);
  const job = await signedIn(there.keys.ada, `/me/jobs/${there.jobs.waiting}`);
  await sees(job, "#job", "queued");
  check(await job.locator("a.graph img").evaluate((it) => it.decode().then(() => it.naturalWidth)) > 700, "its program is drawn");
  fs.writeFileSync(there.gate, "");
  await until(admin, "#queue", (text) => !text.includes("no room"));
  await sees(job, "#job", "completed");
  await job.reload();
  check(await job.locator("a.graph img").evaluate((it) => it.decode().then(() => it.naturalWidth)) > 700, "its program is drawn when it has ended");
  check(!(await ada.textContent("#mine")).includes("no room") || (await until(ada, "#mine", (text) => !text.includes("no room"))), "all ran");
  await until(admin, "#numbers", (text) => !/\b0completed/.test(text));
  const [download] = await Promise.all([job.waitForEvent("download"), job.click("a:text('Download')")]);
  check(fs.statSync(await download.path()).size > 0, "the result has bytes");
  for (const page of [admin, ada, job, running]) await close(page, "following");
}

async function acts() {
  const page = await signedIn(there.keys.admin, "/admin/tenants");
  page.refusals = 1;
  await page.fill("[name=name]", "Lab C");
  await page.click("button:text('Create a tenant')");
  await sees(page, "[role=alert]", "lowercase letters");
  await page.fill("[name=name]", "lab-c");
  await page.click("button:text('Create a tenant')");
  await sees(page, "#tenants", "lab-c");
  await page.fill("[name=name]", "lab-c");
  await page.click("button:text('Create a tenant')");
  await sees(page, "[role=alert]", "a tenant lab-c already");

  await page.goto(`${there.url}/admin/keys`);
  await page.selectOption("[name=tenant]", "lab-c");
  await page.fill("[name=note]", "the notebook");
  await page.fill("[name=expires_in]", "30d");
  await page.fill("[name=cancel_when_gone]", "30s");
  await page.click("button:text('Create a key')");
  const key = await page.textContent("#made");
  check(/^vitrine_[0-9a-f]{12}_[0-9a-f]{64}$/.test(key), key);
  await sees(page, "#list", "the notebook");
  await sees(page, "#list", "ends its jobs 30s after their client is gone");
  await isRight(page, "a key that was made");
  await page.goto(`${there.url}/admin/keys?tenant=lab-c`);
  check(!(await page.content()).includes(key), "its text is shown once");

  const member = await signedIn(key, "/me");
  await sees(member, "#mine", "You have no jobs yet.");
  await sees(member, "#cell", there.url);
  await isRight(member, "an empty page of one's own");
  member.refusals = 1;

  const row = (page, name) => page.locator(`tr:has-text("${name}")`);
  await page.goto(`${there.url}/admin/tenants`);
  await row(page, "lab-c").locator("summary").click();
  await isRight(page, "an act about to be done");
  await row(page, "lab-c").locator("button:text('Suspend')").click();
  await sees(page, "#tenants", "suspended");
  await sees(member, "#stale", "suspended");
  await member.goto(`${there.url}/me`);
  await sees(member, "body", "suspended");
  await row(page, "lab-c").locator("button:text('Resume')").click();
  await until(page, "#tenants", (text) => !text.includes("suspended"));
  await member.goto(`${there.url}/me`);
  await sees(member, "#mine", "You have no jobs yet.");

  // Revoked, it is worth nothing here at once, and within 5 seconds at any gateway.
  await page.goto(`${there.url}/admin/keys?tenant=lab-c`);
  await page.locator("td.acts summary").click();
  await page.click("button:text('Revoke')");
  await page.waitForURL(`${there.url}/admin/keys`);
  await sees(member, "#stale", "stopped");
  await member.goto(`${there.url}/me`);
  check(new URL(member.url()).pathname === "/sign-in", "who has no key is asked to sign in");

  await page.goto(`${there.url}/admin/tenants`);
  await page.click("#tenants a:text-is('ada')");
  await sees(page, "#quota", "40");
  await page.click("summary:text('Change the quota')");
  await page.fill("[name=queued_jobs]", "2000");
  await page.fill("[name=stored_bytes]", "");
  await isRight(page, "a quota about to be given");
  await page.click("button:text('Give ada this quota')");
  await until(page, "#quota table", (text) => text.includes("2,000") && !text.includes("8.00 MiB"));
  await page.click("summary:text('Change the class')");
  await page.selectOption("[name=class]", "low");
  await isRight(page, "a class about to be given");
  await page.click("button:text('Give ada this class')");
  await sees(page, "dl", "Classlow");

  await page.goto(`${there.url}/admin/models`);
  await page.fill("[name=model]", "org/twin");
  await page.fill("[name=folder]", "/nowhere");
  await page.fill("#host [name=ranks]", "2");
  await page.click("button:text('Host the model')");
  await sees(page, "[role=alert]", "has no config.json here");
  check((await page.inputValue("#host [name=model]")) === "org/twin", "what was typed is there");
  await page.fill("[name=folder]", there.folder);
  await page.click("button:text('Host the model')");
  await sees(page, "#models", "org/twin");
  await sees(page, "#models", "2 ranks");
  await row(page, "org/twin").locator("summary:text('Change')").click();
  await row(page, "org/twin").locator("[name=least]").fill("2");
  await row(page, "org/twin").locator("[name=most]").fill("3");
  await row(page, "org/twin").locator("[name=pinned]").check();
  await isRight(page, "a model about to be changed");
  await row(page, "org/twin").locator("button:text('Change')").click();
  await sees(page, "#models", "of 2 to 3, pinned");
  await row(page, "org/twin").locator("summary:text('Change')").click();
  await row(page, "org/twin").locator("[name=pinned]").uncheck();
  await row(page, "org/twin").locator("button:text('Change')").click();
  await until(page, "#models", (text) => text.includes("of 2 to 3") && !text.includes("of 2 to 3, pinned"));
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 11);
  await page.selectOption("#book [name=model]", "org/twin");
  await page.fill("#book [name=from]", `${tomorrow}10:00`);
  await page.fill("#book [name=to]", `${tomorrow}09:00`);
  await page.click("button:text('Book the model')");
  await sees(page, "[role=alert]", "must end after it begins");
  check((await page.inputValue("#book [name=from]")) === `${tomorrow}10:00`, "what was typed is there");
  await row(page, "org/twin").locator("summary:text('Evict')").click();
  await isRight(page, "a model about to be evicted");
  await row(page, "org/twin").locator("button:text('Evict')").click();
  await until(page, "#models", (text) => !text.includes("org/twin"));

  await page.goto(`${there.url}/admin/workers`);
  await page.locator("#workers summary").click();
  await isRight(page, "a worker about to be taken out");
  await page.locator("#workers button:text('Cordon')").click();
  await sees(page, "#workers .state", "cordoned");
  await page.locator("#workers button:text('Uncordon')").click();
  await until(page, "#workers .state", (text) => !text.includes("cordoned"));

  await page.goto(`${there.url}/admin/jobs/${there.jobs.first}`);
  await page.click("summary:text('Cancel this job')");
  await page.click("button:text('Cancel the job')");
  await sees(page, "#job", "cancelled");

  await page.fill("[role=search] input", there.jobs.done);
  await page.press("[role=search] input", "Enter");
  await page.waitForURL(`${there.url}/admin/jobs/${there.jobs.done}`);
  await page.fill("[role=search] input", "lab-b");
  await page.press("[role=search] input", "Enter");
  await sees(page, "#jobs", "No job is like that.");
  await page.selectOption("[name=state]", "failed");
  await page.fill("[name=tenant]", "ada");
  await page.click("button:text('Filter')");
  await sees(page, "#jobs", "failed: program");

  await page.goto(`${there.url}/admin/usage?by=tenant,model`);
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("a:text('As CSV')")]);
  const rows = fs.readFileSync(await file.path(), "utf8").trim().split("\n");
  check(file.suggestedFilename() === "usage.csv" && rows[0] === "tenant,model,jobs,failed_jobs,compute_seconds,request_bytes,result_bytes", rows[0]);
  check(rows.some((row) => row.startsWith("ada,ndif-test/tiny-gpt2,")), rows.join());
  await close(member, "a key's life");
  await close(page, "acts");
}

async function eachRole() {
  const told = async (key, next) => {
    const page = await signedIn(key, next);
    page.refusals = 1;
    return page;
  };
  const status = async (page, path) => (await page.goto(there.url + path)).status();
  const operator = await told(there.keys.operate, "/admin");
  const links = await operator.locator("nav a").allTextContents();
  check(links.join() === "Overview,Jobs,Models,Workers,Usage", links.join());
  for (const path of ["/admin/tenants", "/admin/keys"]) check(await status(operator, path) === 403, path);
  await sees(operator, "body", "which takes one with the scope admin");
  await isRight(operator, "a refusal");
  await operator.goto(`${there.url}/admin/jobs/${there.jobs.failed}`);
  const text = await operator.textContent("#job");
  check(text.includes("is for its own tenant") && !text.includes("as told"), "what a program raised is its tenant's");
  check(!text.includes("What it printed"), "and so is what it printed");
  check(await status(operator, `/admin/jobs/${there.jobs.failed}/graph.svg`) === 404, "a program that has ended is for its own tenant");
  await operator.goto(`${there.url}/admin/models`);
  await sees(operator, "#host", "Host the model");
  await close(operator, "an operator");

  const ada = await told(there.keys.ada, "/me");
  for (const path of ["/admin", "/admin/jobs", `/admin/jobs/${there.jobs.done}`, `/admin/jobs/${there.jobs.first}/graph.svg`, "/admin/models", "/admin/workers", "/admin/usage", "/admin/audit", "/admin/tenants", "/admin/keys"]) {
    check(await status(ada, path) === 403, path);
  }
  check((await (await ada.goto(`${there.url}/me`)).text()).includes("/admin") === false, "what one may not see is not offered");
  await sees(ada, "#quota", "Bytes of programs and results");
  await close(ada, "a researcher");

  const bob = await told(there.keys.bob, "/me");
  for (const path of [`/me/jobs/${there.jobs.done}`, `/me/jobs/${there.jobs.done}/result`, `/me/jobs/${there.jobs.second}/graph.svg`, `/me/jobs/${there.jobs.done}/graph.svg`]) check(await status(bob, path) === 404, path);
  await close(bob, "another tenant");
}

async function byKeysAlone() {
  const page = await opened();
  await page.goto(`${there.url}/admin`);
  await page.waitForFunction(() => document.activeElement.id === "key");
  await page.keyboard.type(there.keys.admin);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${there.url}/admin`);
  for (const [letter, path] of [["j", "/admin/jobs"], ["m", "/admin/models"], ["w", "/admin/workers"], ["u", "/admin/usage"], ["t", "/admin/tenants"], ["k", "/admin/keys"], ["i", "/me"], ["q", "/admin"]]) {
    await Promise.all([page.waitForURL(there.url + path), page.keyboard.press("g"), page.keyboard.press(letter)]);
  }
  await page.keyboard.press("?");
  await sees(page, "dialog", "search");
  await isRight(page, "the list of keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type(there.jobs.second);
  await Promise.all([page.waitForURL(`${there.url}/admin/jobs/${there.jobs.second}`), page.keyboard.press("Enter")]);
  // From the top of the page to the act, and no further than there is to go.
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
  const reach = async (name) => {
    for (let steps = 0; (await focused()) !== name; steps += 1) {
      check(steps < 40, `${name} is reached by Tab`);
      await page.keyboard.press("Tab");
    }
  };
  await reach("Cancel this job");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  check((await focused()) === "Cancel the job", await focused());
  await page.keyboard.press("Enter");
  await sees(page, "#job", "cancelled");
  await Promise.all([page.waitForURL(`${there.url}/admin/models`), page.keyboard.press("g"), page.keyboard.press("m")]);
  await reach("Change ndif-test/tiny-llama");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("1");
  await reach("Change ndif-test/tiny-llama");
  await page.keyboard.press("Enter");
  await sees(page, "#models", "of at least 1");
  await close(page, "by keys alone");
}

async function withoutScripts() {
  const page = await signedIn(there.keys.admin, "/admin", { javaScriptEnabled: false });
  await sees(page, "#numbers", "waiting");
  await page.goto(`${there.url}/admin/tenants`);
  await page.fill("[name=name]", "lab-d");
  await page.click("button:text('Create a tenant')");
  await sees(page, "#tenants", "lab-d");
  await page.goto(`${there.url}/admin/tenants/lab-d`);
  await page.click("summary:text('Change the quota')");
  await page.fill("[name=running_jobs]", "7");
  await page.click("button:text('Give lab-d this quota')");
  await sees(page, "#quota table", "7");
  await page.goto(`${there.url}/admin/models`);
  await page.fill("[name=model]", "org/still");
  await page.fill("[name=folder]", there.folder);
  await page.click("button:text('Host the model')");
  const still = page.locator("tr:has-text('org/still')");
  await still.locator("summary:text('Evict')").click();
  await still.locator("button:text('Evict')").click();
  await page.waitForURL(`${there.url}/admin/models`);
  await close(page, "without scripts");
}

async function theSchemeIsKept() {
  const page = await signedIn(there.keys.ada, "/me", { colorScheme: "light" });
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.click("#scheme");
  const dark = await paper();
  await page.reload();
  check(light !== dark && (await paper()) === dark, `${light} ${dark} ${await paper()}`);
  await close(page, "light and dark");
}

async function sees(page, selector, text) {
  await until(page, selector, (found) => found.includes(text), text);
}

async function until(page, selector, holds, what = holds.toString()) {
  const deadline = Date.now() + 120_000;
  let found = "";
  while (Date.now() < deadline) {
    found = await page.textContent(selector, { timeout: 120_000 }).catch((error) => `${error}`);
    if (holds(found)) return true;
    await page.waitForTimeout(100);
  }
  throw new Error(`${page.url()}: ${selector} never had ${what}: ${found}`);
}

async function close(page, name) {
  await page.context().close();
  check(seen.length === 0, `${name}: ${seen.join("\n")}`);
  console.log(`ok ${name}`);
}
