// Signs somebody in by the provider of provider.mjs, in a real browser: one argument, a JSON object of what to do.
// Each check prints `ok NAME`; the first that fails says what it saw.
import { check, isRight, launched } from "./right.mjs";

const there = JSON.parse(process.argv[2]);
const browser = await launched(there.chromium);
const said = [];

try {
  if (there.code) await device(there.code, there.login);
  else await pages();
  check(said.length === 0, said.join("\n"));
} finally {
  await browser.close();
}

async function opened() {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(120_000);
  // The provider's own pages want letters from elsewhere.
  await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
  page.on("pageerror", (error) => said.push(`${page.url()} failed: ${error}`));
  // The provider's own pages say what they like.
  page.on("console", (message) => {
    const refused = /status of (401|403)/.test(message.text());
    if (message.type() === "error" && page.url().startsWith(there.url) && !refused) said.push(`${page.url()}: ${message.text()}`);
  });
  return page;
}

/// Returns what the browser keeps for the server; for browsers, the provider at another port of the machine is the same.
async function kept(page, path = "/") {
  const cookies = (await page.context().cookies(`${there.url}${path}`)).filter(({ name }) => name.startsWith("vitrine"));
  return cookies.map(({ name, sameSite, httpOnly }) => `${name} ${sameSite} ${httpOnly}`).sort().join();
}

/// Logs in at the provider, and agrees to what it asks then.
async function logsIn(page, login) {
  await page.fill("input[name=login]", login);
  await page.fill("input[name=password]", "any");
  await page.click("button[type=submit]");
  await page.waitForSelector("text=Authorize");
  await page.click("button[type=submit]");
}

/// Signs out here, not at the provider.
async function signsOut(page) {
  await page.click("button:text('Sign out')");
  await page.waitForSelector("a:text('Sign out of the university, too')");
}

async function device(code, login) {
  const page = await opened();
  await page.goto(code);
  await page.click("button[autofocus]");
  await logsIn(page, login);
  await page.waitForSelector("text=Sign-in Success");
  ok("device");
}

async function pages() {
  const page = await opened();
  await page.goto(`${there.url}/me`);
  check(new URL(page.url()).pathname === "/sign-in", `/me is shown to nobody: ${page.url()}`);
  await isRight(page, "the sign-in page");
  await page.click("a:text('Sign in with the university')");
  await page.waitForSelector("input[name=login]");
  check(page.url().startsWith(there.issuer), `it leads to ${page.url()}`);
  await logsIn(page, "ada.lab-b.researchers");
  await page.waitForURL(`${there.url}/me`);
  check((await page.textContent(".who")) === "ada@example.org", "the page says who is signed in");
  check((await kept(page)) === "vitrine Strict true", `the browser keeps ${await kept(page)}`);
  const toSignOut = "vitrine Strict true,vitrine-id-token Strict true";
  check((await kept(page, "/sign-out")) === toSignOut, `it keeps ${await kept(page, "/sign-out")} for signing out`);
  ok("signs in");

  await page.fill("input[name=note]", "the notebook");
  await page.click("button:text('Make a key')");
  const key = await page.textContent("#made");
  check(/^vitrine_[0-9a-f]{12}_[0-9a-f]{64}$/.test(key), `the key is ${key}`);
  for (const size of [{ width: 390, height: 844 }, { width: 1280, height: 800 }]) {
    await page.setViewportSize(size);
    await isRight(page, "a user's page");
  }
  if (there.picture) await page.screenshot({ path: there.picture, fullPage: true });
  console.log(`key ${key}`);
  ok("makes a key");
  await page.goto(`${there.url}/me`);
  await page.click(`summary:has-text('Revoke')`);
  await page.click("button.danger");
  await page.waitForURL(`${there.url}/me`);
  check((await page.locator("summary:has-text('Revoke')").count()) === 0, "the key is still there");
  ok("revokes it");

  // The page follows what happens, for as long as who looks at it may.
  const follows = () => page.evaluate(() => new Promise((done) => {
    const stream = new EventSource("/me/live");
    for (const name of ["parts", "over"]) stream.addEventListener(name, () => done(name));
  }));
  check((await follows()) === "parts", "the page follows nothing");
  await suspend(true);
  await page.goto(`${there.url}/me`);
  check((await page.textContent("main")).includes("is suspended"), "the tenant's suspension does not count here");
  await suspend(false);
  await page.goto(`${there.url}/me`);
  check((await follows()) === "parts", "the page follows nothing any more");
  ok("follows");

  // What somebody may not do is said in their name.
  await page.goto(`${there.url}/admin/tenants`);
  check((await page.textContent("main")).includes("ada@example.org may not administer the server"), "what is refused");
  ok("is refused");

  // It comes to where it was meant to, though the way led by the provider.
  await page.goto(`${there.url}/me`);
  await signsOut(page);
  await page.goto(`${there.url}/me?reach=1`);
  await page.click("a:text('Sign in with the university')");
  await page.waitForURL(`${there.url}/me?reach=1`);
  ok("comes back");

  // Who signs out here is told where to do so at the provider, which asks for a password from then on.
  await signsOut(page);
  check((await kept(page, "/sign-out")) === "", `the browser keeps ${await kept(page, "/sign-out")}`);
  await isRight(page, "the page of who signed out");
  const leads = new URL(await page.getAttribute("a:text('Sign out of the university, too')", "href"));
  check(leads.searchParams.get("id_token_hint")?.split(".").length === 3, `the provider is not told who signs out: ${leads}`);
  await page.click("a:text('Sign out of the university, too')");
  await page.click("button[value=yes]");
  check(page.url().startsWith(there.issuer), `it leads to ${page.url()}`);
  await page.waitForSelector("text=Sign-out Success");
  await page.goto(`${there.url}/sign-in`);
  await page.click("a:text('Sign in with the university')");
  await page.waitForSelector("input[name=password]");
  ok("signs out there");

  for (const [login, sentence] of [
    ["eve.nowhere.researchers", "eve@example.org belongs to no tenant here"],
    ["eve.lab-b.others", "eve@example.org may do nothing here"],
    ["eve.lab-c.researchers", "is suspended"],
  ]) {
    const page = await opened();
    await page.goto(`${there.url}/sign-in`);
    await page.click("a:text('Sign in with the university')");
    await logsIn(page, login);
    await page.waitForURL(`${there.url}/sign-in/oidc*`);
    const refusal = await page.textContent("[role=alert]");
    check(refusal.includes(sentence), `${login} is told: ${refusal}`);
    check((await kept(page)) === "", `${login} has ${await kept(page)}`);
  }
  ok("nobody else");

  const canceller = await opened();
  await canceller.goto(`${there.url}/sign-in`);
  await canceller.click("a:text('Sign in with the university')");
  await canceller.click("a:text('Cancel')");
  await canceller.waitForURL(`${there.url}/sign-in/oidc*`);
  check((await canceller.textContent("[role=alert]")).includes("the provider refused to sign you in"), "a refusal of the provider's");
  ok("thinks better of it");

  // A way back that another browser began, or that nobody did, leads nowhere.
  const stranger = await opened();
  for (const path of ["/sign-in/oidc?code=x&state=y", "/sign-in/oidc", "/sign-in/oidc?error=x"]) {
    const answer = await stranger.goto(there.url + path);
    check(answer.status() === 403, `${path} is answered ${answer.status()}`);
    check((await stranger.textContent("[role=alert]")).includes("did not begin to sign in here"), path);
  }
  ok("began here");
}

async function suspend(suspended) {
  const asked = { method: "PATCH", headers: { authorization: `Bearer ${there.key}` }, body: JSON.stringify({ suspended }) };
  const answer = await fetch(`${there.url}/v1/tenants/lab-b`, asked);
  check(answer.status === 200, `suspending is answered ${answer.status}`);
}

function ok(name) {
  console.log(`ok ${name}`);
}
