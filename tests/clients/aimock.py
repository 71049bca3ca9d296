"""A foreign upstream, npm's aimock, answers through the gateway: the official `openai` client sees our ids and our cost.

`FAREBOX_MODEL` is the model that aimock serves; its prices are $1 and $2 per million tokens.
"""

from decimal import Decimal

import openai

from stack import MODEL, STACK, equal, finish, http, money, step, user

client = openai.OpenAI(base_url=STACK["base_url"], api_key=STACK["demo_api_key"], max_retries=0)
MICRO = Decimal("0.000001")


def cost(usage):
    return (usage.prompt_tokens * MICRO + usage.completion_tokens * 2 * MICRO).quantize(Decimal("0.000000001"))


with step("an answer in one piece"):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello there"))
    equal(answer.choices[0].message.content, "Hello from another mock.", "content")
    assert answer.id.startswith("gen-"), answer.id
    equal(money(answer.usage.cost), cost(answer.usage), "cost")

with step("a stream"):
    text, usage = "", None
    for chunk in client.chat.completions.create(model=MODEL, messages=user("hello there"), stream=True):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
        generation = chunk.id
    equal(text, "Hello from another mock.", "text")
    equal(money(usage.cost), cost(usage), "cost")
    _, _, receipt = http("GET", f"{STACK['base_url']}/generation?id={generation}", key=STACK["demo_api_key"])
    equal(receipt["data"]["total_cost"], money(usage.cost), "receipt")

with step("a tool call"):
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    answer = client.chat.completions.create(model=MODEL, messages=user("weather please"), tools=[tool])
    equal(answer.choices[0].finish_reason, "tool_calls", "finish reason")
    equal(answer.choices[0].message.tool_calls[0].function.name, "get_weather", "tool")

finish()
