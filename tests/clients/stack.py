"""What the client scripts share: where the stack is, exact money, and steps that tell what failed.

`FAREBOX_STACK` names a JSON file in the shape of `.farebox/dev.json`. By hand, beside a running `./dev up`:

    FAREBOX_STACK=.farebox/dev.json .farebox/venv/bin/python tests/clients/dropin.py

Nothing here starts or stops a process.
"""

import contextlib
import json
import os
import sys
import time
import traceback
import urllib.error
import urllib.request
from decimal import Decimal

NANO = Decimal("0.000000001")
MODEL = os.environ.get("FAREBOX_MODEL", "openai/gpt-4o-mini")

with open(os.environ["FAREBOX_STACK"], encoding="utf-8") as file:
    STACK = json.load(file)

_failed = []


@contextlib.contextmanager
def step(name):
    """Runs a part of a script; a failure is told and the next part still runs."""
    begun = time.monotonic()
    try:
        yield
        print(f"ok      {name} ({time.monotonic() - begun:.2f} s)", flush=True)
    except Exception:  # every kind of failure is a failure of the step
        _failed.append(name)
        print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)


def finish():
    """Ends the script: exit code 1 when a step failed."""
    if _failed:
        print(f"{len(_failed)} failed: {'; '.join(_failed)}")
    sys.exit(1 if _failed else 0)


def equal(found, wanted, what=""):
    assert found == wanted, f"{what}: found {found!r}, wanted {wanted!r}"


def money(number):
    """A number of an answer as exact dollars: a double keeps 15 digits, so its shortest text is the amount."""
    exact = Decimal(repr(number))
    assert exact == exact.quantize(NANO), f"{exact} is finer than a nano-dollar"
    return exact.quantize(NANO)


def http(method, url, body=None, key=None, headers=None):
    """Status, headers and JSON of a plain request, numbers kept exact."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("content-type", "application/json")
    if key:
        request.add_header("authorization", f"Bearer {key}")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(request, timeout=30)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        text = answer.read().decode()
    return answer.status, answer.headers, json.loads(text, parse_float=Decimal) if text else None


def sim(**script):
    """A script for a simulated provider, to be put into the last user message."""
    return f"[[sim {json.dumps(script)}]]"


def user(text):
    return [{"role": "user", "content": text}]


def raises(kind, call):
    """The exception of exactly this class that the call ends with."""
    try:
        call()
    except Exception as error:
        assert type(error) is kind, f"wanted {kind.__name__}, got {type(error).__name__}: {error}"
        return error
    raise AssertionError(f"wanted {kind.__name__}, but nothing was raised")
