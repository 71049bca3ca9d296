// Staff import a price file with faults, read why rows are held back, and publish the rest: within a second every
// gateway has the new price, and the next call is charged by it and stamped with its version. A later effective date
// waits. It changes prices: run it on a stack of its own.
//
// `FAREBOX_STAFF_EMAIL` and `FAREBOX_STAFF_PASSWORD` sign in; `base_urls` of `FAREBOX_STACK` are the gateways.

import { Visitor, check, equal, finish, launch, nanos, numberText, staffSite, stack, step } from "./browser.mjs";

const MODEL = "openai/gpt-4o-mini";
const LATER = "openai/gpt-4.1-nano";
const row = (model, prompt, completion, more = {}) => ({
  provider: "openai", model, prompt_per_million: prompt, completion_per_million: completion, ...more,
});
const FILE = [
  row(MODEL, 0.19, 0.71, { cache_read_per_million: 0.095 }),
  row("openai/gpt-4.1-nano", 0.1, 0),
  row("openai/gpt-4.1-mini", 4.0, 16.0),
  { provider: "openai", model: "openai/gpt-4.1", prompt_per_million: 2 },
  row("openai/gpt-4o", 2.5, 10, { currency: "EUR" }),
  row(MODEL, 0.2, 0.8, { cache_read_per_million: 0.1 }),
  row("openai/gpt-4-turbo", 10, 30, { promt_per_million: 11 }),
];
const HELD = [
  ["gpt-4.1-nano", /zero/i], ["gpt-4.1-mini", /jump|50 ?%|live price/i], ["gpt-4.1", /completion price/i],
  ["gpt-4o", /EUR is not a currency/], [MODEL.split("/")[1], /already has an endpoint/], ["row 7", /promt_per_million/],
];

const browser = await launch();
const staff = new Visitor(await (await browser.newContext()).newPage());
const { page } = staff;

async function price(base, model) {
  const answer = await fetch(`${base}/models/${model}/endpoints`);
  return (await answer.json()).data.endpoints[0].pricing.prompt;
}

async function call(base, model) {
  const answer = await fetch(`${base}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${stack.demo_api_key}` },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "What does this cost?" }] }),
  });
  const text = await answer.text();
  equal(answer.status, 200, text);
  const { id, usage } = JSON.parse(text);
  const receipt = await fetch(`${base}/generation?id=${id}`, { headers: { authorization: `Bearer ${stack.demo_api_key}` } });
  const booked = await receipt.text();
  equal(receipt.status, 200, booked);
  return {
    sent: BigInt(usage.prompt_tokens),
    received: BigInt(usage.completion_tokens),
    cost: nanos(numberText(text, "cost")),
    booked: nanos(numberText(booked, "total_cost")),
    version: JSON.parse(booked).data.farebox.price_version,
  };
}

async function makeDraft(name, rows) {
  await staff.open(`${staffSite}/drafts/new`);
  await page.getByLabel("Choose a file").setInputFiles({
    name, mimeType: "application/json", buffer: Buffer.from(JSON.stringify(rows)),
  });
  await page.waitForFunction(() => document.querySelector("textarea[name=content]").value.length > 0);
  equal(await page.getByLabel("Where it comes from").inputValue(), name, "the file's name");
  await staff.click("button", "Make a draft");
  await page.waitForURL(/\/drafts\/(?!new)/);
}

await step("staff sign in on their own port; a customer cannot", async () => {
  await staff.open(`${staffSite}/drafts`);
  await staff.signIn(stack.demo_email, stack.demo_password);
  check((await page.getByRole("alert").innerText()).includes("do not fit"), "a customer is let in");
  await staff.signIn(process.env.FAREBOX_STAFF_EMAIL, process.env.FAREBOX_STAFF_PASSWORD);
  await page.getByRole("heading", { name: "Drafts" }).waitFor();
});

const before = await step("the price before", async () => {
  const made = await call(stack.base_urls[0], MODEL);
  equal(made.cost, made.sent * 150n + made.received * 600n, "cost");
  return made;
});

await step("each faulty row is held back with its reason", async () => {
  await makeDraft("prices.json", FILE);
  for (const details of await page.locator("section[aria-labelledby=held] details").all()) {
    await details.evaluate((element) => { element.open = true; });
  }
  const held = page.locator("section[aria-labelledby=held] tbody tr");
  const rows = (await held.allInnerTexts()).map((text) => text.replace(/\s+/g, " "));
  equal(rows.length, HELD.length, `rows held back: ${rows.join(" | ")}`);
  for (const [model, reason] of HELD) {
    check(rows.some((text) => text.includes(model) && reason.test(text)), `${model}: ${reason} in ${rows.join(" | ")}`);
  }
  for (const text of rows) console.log(`        ${text}`);
});

await step("the rest is published, and every gateway has it within a second", async () => {
  const changes = (await page.locator("section[aria-labelledby=changes] tbody").innerText()).replace(/\s+/g, " ");
  check(changes.includes("0.15") && changes.includes("0.19"), changes);
  const answered = page.waitForResponse((answer) => answer.url().endsWith("/publish"));
  await staff.click("button", "Publish");
  await answered;
  const published = Date.now();
  for (const base of stack.base_urls) {
    while (await price(base, MODEL) !== "0.00000019") check(Date.now() - published < 1000, `${base} has the old price`);
  }
  console.log(`        seen by ${stack.base_urls.length} gateways ${Date.now() - published} ms after the answer`);
  check(stack.base_urls.length === 2, "two gateways are wanted");
  await staff.sees("Published.");
  for (const base of stack.base_urls) {
    const list = await (await fetch(`${base}/models`)).json();
    equal(list.data.find((model) => model.id === MODEL).pricing.prompt, "0.00000019", `${base}/models`);
  }
});

await step("the next call is charged by the new price and stamped with its version", async () => {
  for (const base of stack.base_urls) {
    const made = await call(base, MODEL);
    equal(made.cost, made.sent * 190n + made.received * 710n, "cost");
    equal(made.booked, made.cost, "receipt");
    equal(made.version, before.version + 1, "price version");
  }
});

await step("held-back rows changed nothing", async () => {
  equal(await price(stack.base_urls[1], "openai/gpt-4.1-mini"), "0.0000004", "the jump");
  equal(await price(stack.base_urls[1], "openai/gpt-4.1-nano"), "0.0000001", "the zero");
});

await step("a later effective date waits", async () => {
  await makeDraft("later.json", [row(LATER, 0.12, 0.45, { confirm_drop: true })]);
  const later = new Date(Date.now() + 2 * 3600 * 1000).toISOString().slice(0, 16);
  await page.getByLabel("In force from (UTC)").fill(later);
  await staff.click("button", "Publish");
  await staff.sees("come into force at the effective date");
  for (const base of stack.base_urls) {
    const made = await call(base, LATER);
    equal(made.cost, made.sent * 100n + made.received * 400n, "cost");
    equal(await price(base, LATER), "0.0000001", "price");
  }
  await staff.open(`${staffSite}/prices?q=${LATER}`);
  await page.getByRole("link", { name: LATER }).first().click();
  await page.waitForURL("**/prices/*");
  const history = await page.locator("tbody").innerText();
  check(history.includes("0.12") && history.includes(process.env.FAREBOX_STAFF_EMAIL), history);
});

await step("the past is refused", async () => {
  await makeDraft("past.json", [row(LATER, 0.11, 0.41, { confirm_drop: true })]);
  await page.getByLabel("In force from (UTC)").fill("2020-01-01T00:00");
  await staff.click("button", "Publish");
  await staff.sees("Prices never change in the past");
});

await browser.close();
finish();
