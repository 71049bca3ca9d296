"""The `openrouter` client pointed here: every operation it has for what we offer parses without a complaint.

The client validates each answer against its own schemas, so that a field of a wrong type or a missing one fails.
"""

from openrouter import OpenRouter
from openrouter import errors as refusals

from stack import MODEL, STACK, equal, finish, money, raises, sim, step, user

BASE = STACK["base_url"]
client = OpenRouter(api_key=STACK["demo_api_key"], server_url=BASE, retry_config=None)
manager = OpenRouter(api_key=STACK["demo_management_key"], server_url=BASE, retry_config=None)
author, slug = MODEL.split("/")
made = {}

with step("chat.send answers"):
    answer = client.chat.send(model=MODEL, messages=user("One word, please. " + sim(text="Yes.")))
    equal(answer.choices[0].message.content, "Yes.", "content")
    equal(answer.choices[0].finish_reason, "stop", "finish reason")
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens, "tokens")
    assert money(answer.usage.cost) > 0, answer.usage
    made["answer"] = answer

with step("chat.send streams"):
    text, usage = "", None
    with client.chat.send(model=MODEL, messages=user(sim(text="Ünïcode, in parts.")), stream=True) as events:
        for chunk in events:
            for choice in chunk.choices:
                text += choice.delta.content or ""
            usage = chunk.usage or usage
    equal(text, "Ünïcode, in parts.", "text")
    assert money(usage.cost) > 0, usage

with step("chat.send honors provider preferences"):
    answer = client.chat.send(
        model=MODEL,
        messages=user("hello"),
        provider={"order": ["openai"], "allow_fallbacks": False, "sort": "price", "max_price": {"prompt": "5"}},
        max_tokens=20,
    )
    assert answer.choices[0].message.content

with step("chat.send calls a tool"):
    weather = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    answer = client.chat.send(
        model=MODEL, messages=user("weather in Oslo?"), tools=[{"type": "function", "function": weather}]
    )
    equal(answer.choices[0].finish_reason, "tool_calls", "finish reason")
    equal(answer.choices[0].message.tool_calls[0].function.name, "get_weather", "tool")

with step("chat.send to a reasoning model of Anthropic's dialect"):
    answer = client.chat.send(
        model="anthropic/claude-sonnet-4.5", messages=user("Think."), reasoning={"effort": "low"}, max_tokens=3000
    )
    assert answer.choices[0].message.reasoning, answer
    assert answer.choices[0].message.reasoning_details, answer

with step("models.list"):
    models = client.models.list().result.data
    assert len(models) >= 300, len(models)
    listed = next(model for model in models if model.id == MODEL)
    assert float(listed.pricing.prompt) > 0

with step("models.list with filters"):
    for model in client.models.list(supported_parameters="tools", limit=1000).result.data:
        assert "tools" in model.supported_parameters, model.id

with step("models.count"):
    equal(client.models.count().data.count, len(client.models.list(limit=1000).result.data), "count")

with step("endpoints.list"):
    found = client.endpoints.list(author=author, slug=slug).data
    equal(found.id, MODEL, "id")
    assert found.endpoints, found

with step("providers.list"):
    assert len(client.providers.list().data) >= 40

with step("credits.get_credits, with both kinds of key"):
    for one in (manager, client):
        credits = one.credits.get_credits().data
        assert money(credits.total_credits) >= money(credits.total_usage) >= 0, credits

with step("generations.get"):
    receipt = client.generations.get_generation(id=made["answer"].id).data
    equal(money(receipt.total_cost), money(made["answer"].usage.cost), "cost")
    equal(receipt.model, MODEL, "model")

with step("api_keys: metadata of the calling key"):
    metadata = client.api_keys.get_current_key_metadata().data
    equal(metadata.is_management_key, False, "kind")

with step("api_keys: create"):
    made["key"] = manager.api_keys.create(name="Drop-in", limit=1.5, limit_reset="daily")
    assert made["key"].key.startswith("sk-fb-v1-")
    equal(money(made["key"].data.limit), money(1.5), "limit")

with step("api_keys: list, get, update, delete"):
    handle = made["key"].data.hash
    assert handle in [key.hash for key in manager.api_keys.list().data]
    equal(manager.api_keys.get(hash=handle).data.name, "Drop-in", "name")
    changed = manager.api_keys.update(hash=handle, name="Renamed", disabled=True, limit_reset=None).data
    equal((changed.name, changed.disabled), ("Renamed", True), "changed")
    equal(manager.api_keys.delete(hash=handle).DELETED, True, "deleted")
    assert raises(refusals.NotFoundResponseError, lambda: manager.api_keys.get(hash=handle)).message

with step("refusals are the client's own classes"):
    nobody = OpenRouter(api_key="sk-fb-v1-nonsense", server_url=BASE, retry_config=None)
    assert raises(refusals.UnauthorizedResponseError, lambda: nobody.chat.send(model=MODEL, messages=user("hi"))).message
    lost = raises(
        refusals.BadRequestResponseError, lambda: client.chat.send(model="nobody/nothing", messages=user("hi"))
    )
    assert "nobody/nothing" in lost.message, lost
    only = {"only": ["nowhere"]}
    raises(
        refusals.NotFoundResponseError, lambda: client.chat.send(model=MODEL, messages=user("hi"), provider=only)
    )

finish()
