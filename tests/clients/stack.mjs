// What the Node client scripts share: where the stack is, exact money, and steps that tell what failed.
// `FAREBOX_STACK` names a JSON file in the shape of `.farebox/dev.json`. Starts and stops nothing.

import { readFileSync } from "node:fs";

export const stack = JSON.parse(readFileSync(process.env.FAREBOX_STACK, "utf8"));
export const MODEL = process.env.FAREBOX_MODEL ?? "openai/gpt-4o-mini";
export const user = (content) => [{ role: "user", content }];
// A script for a simulated provider, to be put into the last user message.
export const sim = (script) => `[[sim ${JSON.stringify(script)}]]`;

let failures = 0;

// Runs a part of a script; a failure is told and the next part still runs.
export async function step(name, work) {
  const begun = Date.now();
  try {
    await work();
    console.log(`ok      ${name} (${((Date.now() - begun) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
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
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  check(a === b, `${what}: found ${a}, wanted ${b}`);
}

// Dollars as text with nine places. A double keeps 15 digits, so its shortest text is the amount that was sent.
export function exact(number) {
  const text = number.toFixed(9);
  check(Number(text) === number, `finer than a nano-dollar: ${number}`);
  return text;
}
