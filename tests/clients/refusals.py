"""What goes wrong reaches the official `openai` client as its own exceptions, with a message that says what to do; and a
client that leaves in mid-stream is noticed.

`FAREBOX_EMPTY_KEY` is a key without credits (that step is left out without it). `FAREBOX_FAULTY_MODELS` names two
models of one endpoint each, which are made to fail.
"""

import os
import time

import openai

from stack import MODEL, STACK, equal, finish, http, money, raises, sim, step, user

BASE = STACK["base_url"]
LIMITED, DOWN = os.environ.get("FAREBOX_FAULTY_MODELS", "openai/gpt-4,openai/gpt-4-turbo").split(",")


def ask(key=STACK["demo_api_key"], model=MODEL, text="hi", **more):
    client = openai.OpenAI(base_url=BASE, api_key=key, max_retries=0)
    return client.chat.completions.create(model=model, messages=user(text), **more)


def told(error, kind, *words):
    """The error's body is ours, and its message contains the words."""
    equal(error.body["metadata"]["error_type"], kind, "error type")
    for word in words:
        assert word.lower() in error.message.lower(), error.message
    print(f"        {error.status_code}: {error.body['message']}")


with step("401: a key that nobody has"):
    told(raises(openai.AuthenticationError, lambda: ask(key="sk-fb-v1-nobody")), "authentication", "key")

with step("403: a management key calls no model"):
    error = raises(openai.PermissionDeniedError, lambda: ask(key=STACK["demo_management_key"]))
    told(error, "permission_denied", "management")

if "FAREBOX_EMPTY_KEY" in os.environ:
    with step("402: no credits"):
        error = raises(openai.APIStatusError, lambda: ask(key=os.environ["FAREBOX_EMPTY_KEY"]))
        equal(error.status_code, 402, "status")
        told(error, "payment_required", "credits", "/credits")
        stream = raises(openai.APIStatusError, lambda: ask(key=os.environ["FAREBOX_EMPTY_KEY"], stream=True))
        equal(stream.status_code, 402, "status of a stream")

with step("403: a key's limit"):
    body = {"name": "Tiny", "limit": 0.000000001}
    _, _, made = http("POST", f"{BASE}/keys", body, STACK["demo_management_key"])
    error = raises(openai.PermissionDeniedError, lambda: ask(key=made["key"]))
    told(error, "permission_denied", "limit")
    http("DELETE", f"{BASE}/keys/{made['data']['hash']}", key=STACK["demo_management_key"])
    # Revocation reaches every process within a second.
    time.sleep(1)
    told(raises(openai.AuthenticationError, lambda: ask(key=made["key"])), "authentication", "key")

with step("400: a model that does not exist"):
    told(raises(openai.BadRequestError, lambda: ask(model="nobody/nothing")), "invalid_request", "nobody/nothing")

with step("404: constraints that leave no endpoint"):
    error = raises(openai.NotFoundError, lambda: ask(extra_body={"provider": {"only": ["nowhere"]}}))
    told(error, "not_found", "only")

with step("400: a misspelled provider preference"):
    error = raises(openai.BadRequestError, lambda: ask(extra_body={"provider": {"ordr": ["openai"]}}))
    told(error, "invalid_request", "ordr")

with step("429: the provider is busy"):
    error = raises(openai.RateLimitError, lambda: ask(model=LIMITED, text=sim(status=429, retry_after=3)))
    told(error, "rate_limit_exceeded")
    assert int(error.response.headers["retry-after"]) >= 1

with step("503: the provider is overloaded"):
    error = raises(openai.InternalServerError, lambda: ask(model=DOWN, text=sim(status=503)))
    assert error.status_code in (502, 503), error.status_code
    told(error, "provider_overloaded" if error.status_code == 503 else "provider_unavailable")

with step("an error in mid-stream is raised, and what was delivered is told"):
    text = []
    def read():
        for chunk in ask(text=sim(text="one two three four five", error_after_chunks=3), stream=True):
            text.extend(choice.delta.content or "" for choice in chunk.choices)
    error = raises(openai.APIError, read)
    assert "".join(text).startswith("one"), text
    assert error.body["metadata"]["error_type"], error.body

with step("a client that leaves in mid-stream is noticed, and pays what it got"):
    stream = ask(text=sim(completion_tokens=5000, chunk_delay_ms=20), stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    left = time.monotonic()
    stream.close()
    model = MODEL.split("/")[1]
    query = f"model={model}&limit=1&wait_ms=5000&at_least=1"
    _, _, journal = http("GET", f"{STACK['simulator_url']}/_control/requests?{query}")
    entry = journal["requests"][0]
    equal(entry["finished"], "client_closed", "the provider's end")
    assert time.monotonic() - left < 2, "the provider was not told within two seconds"
    _, _, receipt = http("GET", f"{BASE}/generation?id={chunk.id}", key=STACK["demo_api_key"])
    equal(receipt["data"]["cancelled"], True, "cancelled")
    assert 0 < receipt["data"]["tokens_completion"] < 5000, receipt
    assert receipt["data"]["total_cost"] > 0

with step("after all that a call works"):
    assert money(ask().usage.cost) > 0

finish()
