// Every page of both sites, dark and wide, light and narrow: axe-core finds nothing serious, nothing is wider than
// the screen, the console is silent. With `FAREBOX_SCREENSHOTS` (a folder) each is also photographed whole; then, and
// with `FAREBOX_TEST_FULL`, in all four ways.
//
// It needs `FAREBOX_STACK` and `FAREBOX_CHROMIUM`; it signs in with the demo account and as staff, and changes
// nothing but a key that it makes and deletes, and a draft that it discards.

import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { MODEL, Visitor, check, finish, launch, staffSite, stack, step } from "./browser.mjs";

const shots = process.env.FAREBOX_SCREENSHOTS;
if (shots) mkdirSync(shots, { recursive: true });
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };
const WAYS = [["dark", WIDE], ["light", NARROW]];
if (shots || process.env.FAREBOX_TEST_FULL) WAYS.push(["dark", NARROW], ["light", WIDE]);
const browser = await launch();

// What axe holds against the page, of the kinds that keep people out.
async function serious(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
}

async function inspect(page, name, faults) {
  for (const [colorScheme, size] of WAYS) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize(size);
    const where = `${name} ${colorScheme} ${size.width}`;
    for (const fault of await serious(page)) faults.push(`${where}: ${fault}`);
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (excess > 0) faults.push(`${where}: ${excess} px wider than the screen`);
    if (shots) await page.screenshot({ path: `${shots}/${name}-${colorScheme}-${size.width}.png`, fullPage: true });
  }
}

// Brings each page about, by its path or a function, and inspects it.
async function tour(title, visitor, pages) {
  await step(title, async () => {
    const faults = [];
    for (const [name, act] of pages) {
      await visitor.page.setViewportSize(WIDE);
      if (typeof act === "function") await act(visitor);
      else await visitor.open(act);
      await inspect(visitor.page, name, faults);
    }
    faults.push(...visitor.complaints.filter((line) => !/status of 4\d\d/.test(line)));
    check(faults.length === 0, faults.join("\n"));
  });
}

async function firstLink(visitor, list, selector) {
  await visitor.open(list);
  const before = visitor.page.url();
  await visitor.page.locator(selector).first().click();
  await visitor.page.waitForURL((url) => url.href !== before);
}

const guestPages = [
  ["home", "/"], ["models", "/models"], ["models-filtered", "/models?q=claude"], ["model", `/models/${MODEL}`],
  ["providers", "/providers"], ["pricing", "/pricing"], ["sign-in", "/sign-in"], ["sign-up", "/sign-up"],
  ["not-found", "/no/such/page"], ["style", "/style"],
];
const accountPages = [
  ["dashboard", "/dashboard"], ["credits", "/credits"], ["credits-confirm", "/credits/confirm?amount=10"],
  ["purchase", (visitor) => firstLink(visitor, "/credits", "a[href^='/credits/purchases/']")],
  ["keys", "/keys"], ["keys-new", "/keys/new"],
  ["key-shown", async (visitor) => {
    await visitor.open("/keys/new");
    await visitor.type("Name", "Photographed");
    await visitor.click("button", "Create key");
    await visitor.page.locator("#secret").waitFor();
  }],
  ["key-delete", async (visitor) => {
    await visitor.open("/keys");
    await visitor.page.getByRole("link", { name: "Delete Photographed" }).first().click();
    await visitor.page.waitForURL("**/delete");
  }],
  ["key-deleted", async (visitor) => {
    await visitor.page.locator("main form button").click();
    await visitor.page.waitForURL(/\/keys(\?.*)?$/);
  }],
  ["usage", "/usage"], ["logs", "/logs"],
  ["receipt", (visitor) => firstLink(visitor, "/logs", "a[href^='/logs/gen-']")],
  ["model-signed-in", `/models/${MODEL}`], ["provider-keys", "/provider-keys"],
];
const row = { model: MODEL, provider: "openai", prompt_per_million: 0.19, completion_per_million: 0 };
const staffPages = [
  ["staff-drafts", staffSite], ["staff-draft-new", `${staffSite}/drafts/new`],
  ["staff-draft", async (visitor) => {
    await visitor.open(`${staffSite}/drafts/new`);
    await visitor.type("Where it comes from", "photographed.json");
    await visitor.page.getByLabel(/^Content/).fill(JSON.stringify([row]));
    await visitor.click("button", "Make a draft");
    await visitor.page.waitForURL("**/drafts/*");
  }],
  ["staff-discarded", async (visitor) => {
    await visitor.click("button", "Discard draft");
    await visitor.page.waitForURL("**/drafts?*");
  }],
  ["staff-prices", `${staffSite}/prices`],
  ["staff-history", (visitor) => firstLink(visitor, `${staffSite}/prices?q=${MODEL}`, "a[href^='/prices/']")],
];

const fresh = async () => new Visitor(await (await browser.newContext()).newPage());

async function account() {
  const member = await fresh();
  await member.open("/sign-in");
  await member.signIn(stack.demo_email, stack.demo_password);
  await member.page.waitForURL("**/dashboard");
  await tour("pages of an account", member, accountPages);
}

async function desk() {
  const staff = await fresh();
  await tour("staff's sign-in", staff, [["staff-sign-in", `${staffSite}/sign-in`]]);
  await staff.open(`${staffSite}/sign-in`);
  await staff.signIn(stack.staff_email, stack.staff_password);
  await staff.page.waitForURL("**/drafts");
  await tour("the staff desk", staff, staffPages);
}

await Promise.all([tour("pages for everyone", await fresh(), guestPages), account(), desk()]);
await browser.close();
finish();
