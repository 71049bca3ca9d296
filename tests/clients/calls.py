"""Calls the gateway with the official `openai` client and one key, as a newcomer's program would.

`FAREBOX_CALL_KEY` is the key. The last line is JSON: one object a call with `id` and `cost`, an exact decimal text.
"""

import json
import os

from openai import OpenAI

from stack import MODEL, STACK, money, user

client = OpenAI(base_url=STACK["base_url"], api_key=os.environ["FAREBOX_CALL_KEY"], max_retries=0)
made = []

text, usage, generation = "", None, None
for chunk in client.chat.completions.create(
    model=MODEL, messages=user("Count to ten."), stream=True, stream_options={"include_usage": True}
):
    generation = chunk.id
    text += "".join(choice.delta.content or "" for choice in chunk.choices)
    usage = chunk.usage or usage
assert text, "the stream said nothing"
made.append({"sdk": "openai (Python), streamed", "id": generation, "cost": str(money(usage.cost))})

answer = client.chat.completions.create(model=MODEL, messages=user("Count to five."))
assert answer.choices[0].message.content, answer
made.append({"sdk": "openai (Python)", "id": answer.id, "cost": str(money(answer.usage.cost))})

print(json.dumps(made))
