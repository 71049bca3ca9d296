// The main job in a real browser, as a new user does it: landing page, account, credits, key, calls with the
// official clients, and the pages that show what they cost. Money is compared to the nano-dollar, in whole numbers.
//
// It needs `FAREBOX_STACK`, `FAREBOX_CHROMIUM` and `FAREBOX_PYTHON`, and leaves `farebox verify` to its caller.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  MODEL, PASSWORD, Visitor, check, equal, finish, freshEmail, launch, nanos, numberText, stack, step,
} from "./browser.mjs";

const run = promisify(execFile);
const clients = fileURLToPath(new URL("../clients/", import.meta.url));
const browser = await launch();
const email = freshEmail("newcomer");
let key = "";
let calls = [];

const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"] });
const visitor = new Visitor(await context.newPage());
const { page } = visitor;

async function pageBalance() {
  return nanos((await page.locator(".balance").getAttribute("title")).replace("Exactly ", ""));
}

async function credits() {
  const answer = await fetch(`${stack.base_url}/credits`, { headers: { authorization: `Bearer ${key}` } });
  const text = await answer.text();
  equal(answer.status, 200, text);
  return nanos(numberText(text, "total_credits")) - nanos(numberText(text, "total_usage"));
}

async function callsOf(program, script) {
  const env = { ...process.env, FAREBOX_CALL_KEY: key };
  const { stdout } = await run(program, [clients + script], { env, timeout: 60_000 });
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

await step("a stranger signs up from the landing page", async () => {
  await visitor.open("/");
  await visitor.click("link", "Create an account");
  await visitor.signUp(email);
  await visitor.sees("Overview");
});

await step("buys $10 and sees the fee before paying", async () => {
  await visitor.click("link", "Buy credits");
  const offer = page.getByRole("button", { name: /^\$10(\.00)?\b/ });
  check((await offer.innerText()).includes("$0.80"), "the offer does not tell its fee");
  visitor.clicks += 1;
  await offer.click();
  await visitor.sees("Confirm your purchase");
  const facts = await page.locator("dl.facts").innerText();
  for (const amount of ["$10.00", "$0.80", "$10.80"]) check(facts.includes(amount), `${amount} is not in ${facts}`);
  await visitor.click("button", "Pay $10.80");
  await page.getByRole("heading", { name: "Amount due" }).waitFor();
  equal((await page.locator(".total").innerText()).trim(), "10.80 USD", "the hosted page's total");
  await visitor.click("button", "Pay 10.80 USD");
  await page.getByRole("heading", { name: "Thank you" }).waitFor({ timeout: 15_000 });
  equal(await pageBalance(), nanos("10"), "balance");
});

await step("creates a key, which is shown once and copied", async () => {
  await visitor.click("link", "Create an API key");
  await visitor.type("Name", "My first program");
  await visitor.click("button", "Create key");
  key = (await page.locator("#secret").innerText()).trim();
  check(/^sk-fb-v1-[0-9A-Za-z]{49}$/.test(key), `no key: ${key}`);
  await visitor.click("button", "Copy key");
  await page.getByRole("button", { name: "Copied" }).waitFor();
  equal(await page.evaluate(() => navigator.clipboard.readText()), key, "clipboard");
  const shown = await page.content();
  check(shown.includes(stack.base_url), "the snippets do not name the base URL");
  await visitor.click("link", "I have copied the key");
  await page.getByRole("heading", { name: "API keys" }).waitFor();
  check(!(await page.content()).includes(key), "the list shows the key again");
});

await step("the way from the landing page to a copied key is short", () => {
  console.log(`        ${visitor.clicks} clicks, ${visitor.fields} typed fields`);
  check(visitor.clicks <= 10 && visitor.fields <= 3, "it became longer");
});

await step("the official clients call with that key", async () => {
  const found = await Promise.all([
    callsOf(process.env.FAREBOX_PYTHON, "calls.py"), callsOf(process.execPath, "calls.mjs"),
  ]);
  calls = found.flat();
  equal(calls.length, 6, "calls");
  for (const call of calls) console.log(`        ${call.sdk}: $${call.cost}`);
});

await step("credits are 10 dollars minus the sum of usage.cost, to the nano-dollar", async () => {
  const spent = calls.reduce((sum, call) => sum + nanos(call.cost), 0n);
  check(spent > 0n, "nothing was spent");
  equal(await credits(), nanos("10") - spent, "GET /credits");
  await visitor.open("/usage");
  equal(await pageBalance(), nanos("10") - spent, "the page's balance");
});

await step("usage and log show the calls, and a receipt their cost", async () => {
  // The newest call's receipt waits until it is booked; everything before it is booked then, too.
  for (const call of calls) {
    const answer = await fetch(`${stack.base_url}/generation?id=${call.id}`, { headers: { authorization: `Bearer ${key}` } });
    const text = await answer.text();
    equal(nanos(numberText(text, "total_cost")), nanos(call.cost), `receipt of ${call.sdk}`);
  }
  await visitor.open("/usage");
  equal((await page.locator(".figure", { hasText: "Requests" }).locator("b").innerText()).trim(), "6", "requests");
  const spent = calls.reduce((sum, call) => sum + nanos(call.cost), 0n);
  const shown = await page.locator(".figure", { hasText: "Spent" }).locator("b").getAttribute("title");
  equal(nanos(shown.replace("Exactly ", "")), spent, "spent");
  await visitor.click("link", "Logs");
  await page.waitForURL("**/logs");
  equal(await page.locator("tbody tr").count(), 6, "rows");
  await page.locator(`a[href="/logs/${calls[0].id}"]`).click();
  await page.getByRole("heading", { name: "Receipt" }).waitFor();
  const receipt = await page.locator("main").innerText();
  check(receipt.includes(calls[0].id) && receipt.includes("My first program"), receipt);
  const charge = await page.locator("section", { hasText: "Charge" }).locator("b").first().innerText();
  equal(nanos(charge), nanos(calls[0].cost), "the receipt's charge");
});

await step("a wrong password is refused with one sentence", async () => {
  const other = new Visitor(await (await browser.newContext()).newPage());
  await other.open("/sign-in");
  await other.signIn(email, "not the password");
  check((await other.page.getByRole("alert").innerText()).includes("do not fit"), "no reason is given");
  equal(await other.page.getByLabel("Email").inputValue(), email, "the email is kept");
  await other.page.context().close();
});

await step("signing in on a model's page leads back to it, and an answer streams with its cost", async () => {
  const other = new Visitor(await (await browser.newContext()).newPage());
  await other.open(`/models/${MODEL}`);
  await other.page.locator("section", { hasText: "Try it" }).getByRole("link", { name: "Sign in" }).last().click();
  await other.signIn(email);
  await other.page.waitForURL(`**/models/${MODEL}`);
  const before = await credits();
  await other.click("button", "Send");
  const status = other.page.locator("#try-status");
  await other.page.waitForFunction(() => /cost \$/.test(document.querySelector("#try-status").textContent));
  check((await other.page.locator("#try-answer").innerText()).length > 20, "no answer");
  const cost = nanos(/cost \$([0-9.]+)/.exec(await status.innerText())[1]);
  equal(await credits(), before - cost, "credits after it");
  equal(other.complaints.join("; "), "", "complaints of the console");
  await other.page.context().close();
});

await step("without credits a call says so, and how to go on", async () => {
  const other = new Visitor(await (await browser.newContext()).newPage());
  await other.open(`/sign-up?next=${encodeURIComponent(`/models/${MODEL}`)}`);
  await other.signUp(freshEmail("broke"));
  await other.click("button", "Send");
  await other.page.locator("#try-status.error").waitFor();
  const told = await other.page.locator("#try-status").innerText();
  check(/credit/i.test(told) && told.includes("/credits"), told);
  console.log(`        “${told}”`);
  await other.page.context().close();
});

await step("a declined card charges nothing, and another one pays", async () => {
  await visitor.open("/credits");
  const before = await pageBalance();
  await page.getByLabel("Another amount").fill("20");
  await page.getByRole("button", { name: "Show the fee" }).click();
  await page.getByRole("button", { name: "Pay $21.10" }).click();
  await page.getByRole("button", { name: "Decline the card" }).click();
  await visitor.sees("Your card was declined");
  equal(await credits(), before, "credits after the decline");
  await page.getByRole("button", { name: "Cancel and go back" }).click();
  await page.waitForURL(/\/credits\/purchases\//);
  const back = await page.locator("main").innerText();
  check(/nothing was charged|not paid/i.test(back), back);
  await page.getByRole("link", { name: "Back to the payment page" }).click();
  await page.getByRole("button", { name: /^Pay / }).click();
  await page.getByRole("heading", { name: "Thank you" }).waitFor({ timeout: 15_000 });
  equal(await pageBalance(), before + nanos("20"), "balance");
});

await step("everything works without JavaScript", async () => {
  const plain = new Visitor(await (await browser.newContext({ javaScriptEnabled: false })).newPage());
  await plain.open("/");
  await plain.click("link", "Create an account");
  await plain.signUp(freshEmail("plain"), PASSWORD);
  await plain.click("link", "Buy credits");
  await plain.page.getByRole("button", { name: /^\$10(\.00)?\b/ }).click();
  await plain.click("button", "Pay $10.80");
  await plain.click("button", "Pay 10.80 USD");
  await plain.page.getByRole("heading", { name: "Thank you" }).waitFor({ timeout: 15_000 });
  await plain.click("link", "Create an API key");
  await plain.type("Name", "Plain");
  await plain.click("button", "Create key");
  check((await plain.page.locator("#secret").innerText()).startsWith("sk-fb-v1-"), "no key");
  check(await plain.page.getByRole("button", { name: "Copy key" }).isHidden(), "a button that does nothing is shown");
  await plain.open("/usage");
  await plain.sees("No calls in this period");
  await plain.open("/logs");
  await plain.sees("No calls yet");
  await plain.click("button", "Sign out");
  await plain.sees("One key for every model");
  await plain.page.context().close();
});

await step("the pages complain about nothing", () => {
  equal(visitor.complaints.join("; "), "", "complaints of the console");
});

await browser.close();
finish();
