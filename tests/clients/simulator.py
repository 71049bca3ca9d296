"""The official `openai` and `anthropic` clients talk to a simulated provider directly: what they parse is what a real
provider would send, so the gateway is tested against true frames."""

import anthropic
import openai
from pydantic import BaseModel

from stack import STACK, equal, finish, raises, sim, step, user

AT = STACK["simulator_url"]
gpt = openai.OpenAI(base_url=f"{AT}/openai/v1", api_key="any", max_retries=0)
claude = anthropic.Anthropic(base_url=f"{AT}/anthropic", api_key="any", max_retries=0)
CLAUDE = "claude-opus-4-5"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Verdict(BaseModel):
    right: bool
    reason: str
    score: int


with step("openai: an answer in one piece"):
    answer = gpt.chat.completions.create(model="gpt-4o", messages=user(sim(text="All right.")))
    equal(answer.choices[0].message.content, "All right.", "content")
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens, "tokens")

with step("openai: a stream, torn into bytes, with usage at its end"):
    script = sim(text="Grüße, 世界 🌍!", split="utf8", cached_tokens=3)
    chunks = list(
        gpt.chat.completions.create(
            model="gpt-4o", messages=user(script), stream=True, stream_options={"include_usage": True}
        )
    )
    equal("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), "Grüße, 世界 🌍!", "text")
    equal([c.choices[0].finish_reason for c in chunks if c.choices][-1], "stop", "finish reason")
    equal((chunks[-1].choices, chunks[-1].usage.prompt_tokens_details.cached_tokens), ([], 3), "last chunk")

with step("openai: the stream helper collects a tool call"):
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": CITY, "strict": False}}
    with gpt.chat.completions.stream(model="gpt-4o", messages=user("The weather in Oslo?"), tools=[tool]) as stream:
        final = stream.get_final_completion()
    equal(final.choices[0].finish_reason, "tool_calls", "finish reason")
    equal(final.choices[0].message.tool_calls[0].function.name, "get_weather", "tool")
    assert "city" in final.choices[0].message.tool_calls[0].function.arguments

with step("openai: structured outputs are parsed into a type"):
    parsed = gpt.chat.completions.parse(model="gpt-4o", messages=user("Judge."), response_format=Verdict)
    assert isinstance(parsed.choices[0].message.parsed, Verdict), parsed

with step("openai: models"):
    assert list(gpt.models.list())

for status, kind in [
    (400, openai.BadRequestError),
    (401, openai.AuthenticationError),
    (403, openai.PermissionDeniedError),
    (404, openai.NotFoundError),
    (429, openai.RateLimitError),
    (500, openai.InternalServerError),
    (503, openai.InternalServerError),
]:
    with step(f"openai: a refusal with {status}"):
        script = sim(status=status, retry_after=2)
        error = raises(kind, lambda: gpt.chat.completions.create(model="gpt-4o", messages=user(script)))
        assert error.body["message"], error
        equal(error.response.headers["retry-after"], "2", "retry-after")

with step("openai: an error in mid-stream is raised"):
    stream = gpt.chat.completions.create(model="gpt-4o", messages=user(sim(error_after_chunks=2)), stream=True)
    raises(openai.APIError, lambda: list(stream))

with step("anthropic: an answer in one piece"):
    message = claude.messages.create(model=CLAUDE, max_tokens=100, messages=user(sim(text="All right.")))
    equal((message.content[0].text, message.stop_reason), ("All right.", "end_turn"), "message")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0

with step("anthropic: the stream helper collects text and usage"):
    script = sim(text="Grüße, 世界 🌍!", split="bytes")
    with claude.messages.stream(model=CLAUDE, max_tokens=100, messages=user(script)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal((text, final.content[0].text), ("Grüße, 世界 🌍!",) * 2, "text")
    assert final.usage.output_tokens > 0, final

with step("anthropic: a tool is used"):
    tool = {"name": "get_weather", "input_schema": CITY}
    with claude.messages.stream(
        model=CLAUDE, max_tokens=200, messages=user("The weather in Oslo?"), tools=[tool]
    ) as stream:
        final = stream.get_final_message()
    equal(final.stop_reason, "tool_use", "stop reason")
    used = next(block for block in final.content if block.type == "tool_use")
    assert used.name == "get_weather" and "city" in used.input, used

with step("anthropic: thinking comes first, with its signature"):
    with claude.messages.stream(
        model=CLAUDE, max_tokens=3000, messages=user("Why?"), thinking={"type": "enabled", "budget_tokens": 1024}
    ) as stream:
        final = stream.get_final_message()
    equal([block.type for block in final.content], ["thinking", "text"], "blocks")
    assert final.content[0].thinking and final.content[0].signature

with step("anthropic: a long marked prompt is written to the cache, then read"):
    long = [{"type": "text", "text": "A long story. " * 600, "cache_control": {"type": "ephemeral"}}]
    ask = {"model": CLAUDE, "max_tokens": 50, "system": long, "messages": user("Go on.")}
    first, second = claude.messages.create(**ask).usage, claude.messages.create(**ask).usage
    assert first.cache_creation_input_tokens >= 1024, first
    equal(second.cache_read_input_tokens, first.cache_creation_input_tokens, "read")

with step("anthropic: tokens are counted"):
    assert claude.messages.count_tokens(model=CLAUDE, messages=user("How many?")).input_tokens > 0

for status, kind in [
    (400, anthropic.BadRequestError),
    (401, anthropic.AuthenticationError),
    (429, anthropic.RateLimitError),
    (529, anthropic._exceptions.OverloadedError),
]:
    with step(f"anthropic: a refusal with {status}"):
        script = sim(status=status)
        ask = {"model": CLAUDE, "max_tokens": 50, "messages": user(script)}
        error = raises(kind, lambda: claude.messages.create(**ask))
        equal(error.status_code, status, "status")
        equal(error.body["type"], "error", "body")

finish()
