// Calls the gateway with `openai` and `@openrouter/sdk` and one key, as a newcomer's program would.
// `FAREBOX_CALL_KEY` is the key. The last line is JSON: one object a call with `id` and `cost`, an exact decimal text.

import { OpenRouter } from "@openrouter/sdk";
import OpenAI from "openai";
import { MODEL, exact, stack, user } from "./stack.mjs";

const key = process.env.FAREBOX_CALL_KEY;
const made = [];
const note = (sdk, id, usage) => made.push({ sdk, id, cost: exact(usage.cost) });

const openai = new OpenAI({ baseURL: stack.base_url, apiKey: key, maxRetries: 0 });
{
  let text = "", usage, id;
  const stream = await openai.chat.completions.create({
    model: MODEL, messages: user("Name three colors."), stream: true, stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    id = chunk.id;
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  if (!text) throw new Error("the stream said nothing");
  note("openai (Node), streamed", id, usage);
  const answer = await openai.chat.completions.create({ model: MODEL, messages: user("Name two colors.") });
  note("openai (Node)", answer.id, answer.usage);
}

const openrouter = new OpenRouter({ serverURL: stack.base_url, apiKey: key });
{
  let text = "", usage, id;
  const chatRequest = { model: MODEL, messages: user("Name three fruits."), stream: true };
  for await (const chunk of await openrouter.chat.send({ chatRequest })) {
    id = chunk.id;
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  if (!text) throw new Error("the stream said nothing");
  note("@openrouter/sdk, streamed", id, usage);
  const answer = await openrouter.chat.send({ chatRequest: { ...chatRequest, stream: false } });
  note("@openrouter/sdk", answer.id, answer.usage);
}

console.log(JSON.stringify(made));
