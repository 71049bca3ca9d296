// The official `openai` and `@anthropic-ai/sdk` clients talk to a simulated provider directly: what they parse is what
// a real provider would send, so the gateway is tested against true frames.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { check, equal, finish, sim, stack, step, user } from "./stack.mjs";

const gpt = new OpenAI({ baseURL: `${stack.simulator_url}/openai/v1`, apiKey: "any", maxRetries: 0 });
const claude = new Anthropic({ baseURL: `${stack.simulator_url}/anthropic`, apiKey: "any", maxRetries: 0 });
const MODEL = "claude-opus-4-5";
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

await step("openai: a stream with usage at its end", async () => {
  const messages = user(sim({ text: "Grüße, 世界 🌍!", split: "utf8" }));
  const ask = { model: "gpt-4o", messages, stream: true, stream_options: { include_usage: true } };
  let text = "", usage;
  for await (const chunk of await gpt.chat.completions.create(ask)) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  equal(text, "Grüße, 世界 🌍!", "text");
  equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "tokens");
});

await step("openai: a tool call through the stream helper", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters: city } }];
  const stream = gpt.chat.completions.stream({ model: "gpt-4o", messages: user("The weather in Oslo?"), tools });
  const final = await stream.finalChatCompletion();
  equal(final.choices[0].finish_reason, "tool_calls", "finish reason");
  check("city" in JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), "no arguments");
});

await step("openai: structured outputs", async () => {
  const schema = { type: "object", properties: { right: { type: "boolean" } }, required: ["right"], additionalProperties: false };
  const response_format = { type: "json_schema", json_schema: { name: "verdict", strict: true, schema } };
  const answer = await gpt.chat.completions.parse({ model: "gpt-4o", messages: user("Judge."), response_format });
  equal(typeof answer.choices[0].message.parsed.right, "boolean", "parsed");
});

await step("openai: refusals", async () => {
  for (const [status, kind] of [[400, OpenAI.BadRequestError], [429, OpenAI.RateLimitError], [500, OpenAI.InternalServerError]]) {
    const error = await gpt.chat.completions.create({ model: "gpt-4o", messages: user(sim({ status })) }).catch((e) => e);
    check(error instanceof kind && error.status === status, `${status}: ${error}`);
  }
});

await step("anthropic: a stream with text and usage", async () => {
  const messages = user(sim({ text: "Grüße, 世界 🌍!", split: "bytes" }));
  const final = await claude.messages.stream({ model: MODEL, max_tokens: 100, messages }).finalMessage();
  equal([final.content[0].text, final.stop_reason], ["Grüße, 世界 🌍!", "end_turn"], "message");
  check(final.usage.output_tokens > 0, "no usage");
});

await step("anthropic: thinking, then a tool", async () => {
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const thought = await claude.messages.stream({ model: MODEL, max_tokens: 3000, messages: user("Why?"), thinking }).finalMessage();
  equal(thought.content.map((block) => block.type), ["thinking", "text"], "blocks");
  const tools = [{ name: "get_weather", input_schema: city }];
  const used = await claude.messages.create({ model: MODEL, max_tokens: 200, messages: user("The weather in Oslo?"), tools });
  equal(used.stop_reason, "tool_use", "stop reason");
});

await step("anthropic: refusals", async () => {
  for (const [status, kind] of [[401, Anthropic.AuthenticationError], [429, Anthropic.RateLimitError], [529, Anthropic.InternalServerError]]) {
    const error = await claude.messages.create({ model: MODEL, max_tokens: 10, messages: user(sim({ status })) }).catch((e) => e);
    check(error instanceof kind && error.status === status, `${status}: ${error}`);
  }
});

finish();
