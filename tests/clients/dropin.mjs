// `@openrouter/sdk` pointed here: what it has for what we offer parses by its own schemas.

import { OpenRouter } from "@openrouter/sdk";
import { MODEL, check, equal, finish, sim, stack, step, user } from "./stack.mjs";

const client = new OpenRouter({ serverURL: stack.base_url, apiKey: stack.demo_api_key, retryConfig: { strategy: "none" } });
const manager = new OpenRouter({ serverURL: stack.base_url, apiKey: stack.demo_management_key });
const [author, slug] = MODEL.split("/");
let generation;

await step("chat.send", async () => {
  const chatRequest = { model: MODEL, messages: user(sim({ text: "Yes." })) };
  const answer = await client.chat.send({ chatRequest });
  equal(answer.choices[0].message.content, "Yes.", "content");
  generation = answer;
  let text = "";
  for await (const chunk of await client.chat.send({ chatRequest: { ...chatRequest, stream: true } })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  equal(text, "Yes.", "streamed");
});

await step("models.list, endpoints.list, providers.list", async () => {
  const { result } = await client.models.list();
  check(result.data.length >= 300, `${result.data.length} models`);
  check((await client.endpoints.list({ author, slug })).data.endpoints.length > 0, "no endpoints");
  check((await client.providers.list()).data.length >= 40, "too few providers");
});

await step("credits, generation", async () => {
  check((await client.credits.getCredits()).data.totalCredits > 0, "no credits");
  const receipt = await client.generations.getGeneration({ id: generation.id });
  equal(receipt.data.totalCost, generation.usage.cost, "cost");
});

await step("apiKeys", async () => {
  equal((await client.apiKeys.getCurrentKeyMetadata()).data.isManagementKey, false, "kind");
  const made = await manager.apiKeys.create({ requestBody: { name: "Drop-in (Node)", limit: 2, limitReset: "weekly" } });
  check(made.key.startsWith("sk-fb-v1-"), "no key");
  const { hash } = made.data;
  equal((await manager.apiKeys.get({ hash })).data.limit, 2, "limit");
  const changed = await manager.apiKeys.update({ hash, requestBody: { disabled: true } });
  equal(changed.data.disabled, true, "disabled");
  check((await manager.apiKeys.list()).data.some((key) => key.hash === hash), "not listed");
  equal((await manager.apiKeys.delete({ hash })).deleted, true, "deleted");
});

finish();
