// What the browser scripts share: the stack's addresses, Chromium, a user who is counted, exact money, steps.
// `FAREBOX_STACK` names a JSON file in the shape of `.farebox/dev.json`. Starts no part of the stack.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

export const stack = JSON.parse(readFileSync(process.env.FAREBOX_STACK, "utf8"));
export const site = stack.site_url;
export const staffSite = stack.staff_url;
export const MODEL = process.env.FAREBOX_MODEL ?? "openai/gpt-4o-mini";
export const PASSWORD = "seven quiet walnuts";

// Chromium as root, without a network of its own.
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

export function launch() {
  const executablePath = process.env.FAREBOX_CHROMIUM;
  if (!executablePath) throw new Error("FAREBOX_CHROMIUM must name a Chromium");
  return chromium.launch({ executablePath, args: FLAGS, headless: true });
}

let failures = 0;

// Runs a part of a script; a failure is told and the next part still runs.
export async function step(name, work) {
  const begun = Date.now();
  try {
    const result = await work();
    console.log(`ok      ${name} (${((Date.now() - begun) / 1000).toFixed(2)} s)`);
    return result;
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
    return undefined;
  }
}

export function finish() {
  if (failures) console.log(`${failures} failed`);
  process.exitCode = failures ? 1 : 0;
}

export function check(holds, message) {
  if (!holds) throw new Error(message);
}

export function equal(found, wanted, what = "") {
  check(found === wanted, `${what}: found ${found}, wanted ${wanted}`);
}

// A page with its clicks and typed fields counted, and complaints of its console kept.
export class Visitor {
  constructor(page) {
    this.page = page;
    this.clicks = 0;
    this.fields = 0;
    this.complaints = [];
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (line) => {
      const ours = line.location().url.startsWith(site) || line.location().url.startsWith(staffSite);
      if (line.type() === "error" && ours) this.complaints.push(`${line.text()} (${line.location().url})`);
    });
  }

  async open(path) {
    await this.page.goto(path.startsWith("http") ? path : site + path);
  }

  async click(role, name) {
    this.clicks += 1;
    await this.page.getByRole(role, { name, exact: typeof name === "string" }).first().click();
  }

  async type(label, text) {
    this.fields += 1;
    await this.page.getByLabel(label, { exact: typeof label === "string" }).fill(text);
  }

  async sees(text) {
    await this.page.getByText(text).first().waitFor({ timeout: 10_000 });
  }

  async signUp(email, password = PASSWORD) {
    await this.type("Email", email);
    await this.type("Password", password);
    await this.click("button", "Create account");
  }

  async signIn(email, password = PASSWORD) {
    await this.type("Email", email);
    await this.type("Password", password);
    await this.click("button", "Sign in");
  }
}

// An address that no other run has used.
export function freshEmail(name) {
  return `${name}-${Date.now()}-${process.pid}@example.com`;
}

// Dollars as a decimal text in nano-dollars, exactly: no float is in between.
export function nanos(text) {
  const match = /^\$?(\d+)(?:\.(\d{1,9}))?(?:e-(\d+))?$/.exec(String(text).trim().replaceAll(",", ""));
  if (!match) throw new Error(`no amount: ${text}`);
  const [, whole, fraction = "", exponent = "0"] = match;
  const digits = BigInt(whole + fraction.padEnd(9, "0"));
  const divisor = 10n ** BigInt(exponent);
  check(digits % divisor === 0n, `finer than a nano-dollar: ${text}`);
  return digits / divisor;
}

// A member of a JSON text as it was written.
export function numberText(json, member) {
  const match = new RegExp(`"${member}"\\s*:\\s*"?(-?[0-9.eE+-]+)"?`).exec(json);
  if (!match) throw new Error(`${member} is not in ${json}`);
  return match[1];
}
