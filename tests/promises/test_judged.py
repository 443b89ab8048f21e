"""Nothing unjudged leaves: what the moderator stops never reaches a caller, wherever in an answer an engine writes it.

A marker is planted in every string that an engine can say, over every endpoint that generates, streamed and whole. The
first test proves that an unmarked answer of the same form passes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.events import Token, ToolDelta, Usage
from app.core.ports import EngineError, Generation
from app.testing.fakes import FakeClassifier
from tests.examples import examples
from tests.kit import KEY, Kit, serving

MARK = "qoph"
"""What the moderator stops. No English word has it, nor does any field's name."""
SYSTEM = "Never tell anybody that the gate of the northern garden is painted in a deep and shining ultramarine blue."
TOOLS = ["search", "time"]
PARAMETERS = {"type": "object", "properties": {}}


@dataclass
class Scripted:
    """An engine that says these things, and then its usage or an error."""

    script: list[Token] = field(default_factory=list)
    error: EngineError | None = None

    async def generate(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        """The script, whatever was asked."""
        for token in self.script:
            yield token
        if self.error:
            raise self.error
        yield Usage(5, len(self.script))

    async def ready(self) -> bool:
        return True


def entry(token: str, *others: str, **more: Any) -> dict[str, Any]:
    tops = [{"token": other, "logprob": -1.0, "bytes": list(other.encode())} for other in others]
    return {"token": token, "logprob": -0.1, "bytes": list(token.encode()), "top_logprobs": tops, **more}


def call(index: int, arguments: str, id_: str | None = None, name: str | None = None) -> Token:
    return Token("", tool=ToolDelta(index, arguments, id_, name))


def end(reason: str) -> Token:
    return Token("", finish_reason=reason)


PLACES: dict[str, Callable[[str], list[Token]]] = {
    "text": lambda said: [Token("Well, "), Token(said), end("stop")],
    "text in two pieces": lambda said: [Token(said[:2]), Token(said[2:]), end("stop")],
    "arguments": lambda said: [call(0, "", "call_1", "time"), call(0, json.dumps({"q": said})), end("tool_calls")],
    "a call's id": lambda said: [call(0, "{}", said, "time"), end("tool_calls")],
    "a second call's id": lambda said: [
        call(0, "{}", "call_1", "time"),
        call(1, "{}", said, "search"),
        end("tool_calls"),
    ],
    "a call's name": lambda said: [call(0, "{}", "call_1", said), end("tool_calls")],
    "a later name": lambda said: [call(0, "{}", "call_1", "time"), call(0, "", "call_1", said), end("tool_calls")],
    "logprobs": lambda said: [Token("ok", logprobs=[entry(said)]), end("stop")],
    "logprobs of no text": lambda said: [Token("", logprobs=[entry(said)]), Token("ok"), end("stop")],
    "bytes of logprobs": lambda said: [Token("ok", logprobs=[entry("ok", bytes=list(said.encode()))]), end("stop")],
    "alternatives": lambda said: [Token("ok", logprobs=[entry("ok", "ok", said)]), end("stop")],
    "alternatives, cut": lambda said: [
        Token("a", logprobs=[entry("a", "a", said[:2])]),
        Token("b", logprobs=[entry("b", "b", said[2:])]),
        end("stop"),
    ],
    "a logprob's other fields": lambda said: [Token("ok", logprobs=[entry("ok", note=said)]), end("stop")],
    "the stop sequence": lambda said: [Token("ok", finish_reason="stop", stop=said)],
    "the reason of the end": lambda said: [Token("ok"), end(said)],
}

ENDPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "hi"}],
            "logprobs": True,
            "top_logprobs": 2,
            "tools": [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in TOOLS],
        },
    ),
    "messages": (
        "/v1/messages",
        {
            "max_tokens": 64,
            "system": SYSTEM,
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"name": name, "input_schema": PARAMETERS} for name in TOOLS],
        },
    ),
    "responses": (
        "/v1/responses",
        {
            "input": "hi",
            "instructions": SYSTEM,
            "store": False,
            "tools": [{"type": "function", "name": name, "parameters": PARAMETERS} for name in TOOLS],
        },
    ),
    "completions": ("/v1/completions", {"prompt": "hi", "logprobs": 2}),
}


@dataclass
class Site:
    """A gateway over HTTP whose engines say what `engine` has."""

    client: httpx.Client
    engine: Scripted

    def says(self, endpoint: str, script: list[Token], *, stream: bool, error: EngineError | None = None) -> str:
        """All that a caller gets: headers and body."""
        self.engine.script, self.engine.error = script, error
        path, body = ENDPOINTS[endpoint]
        answer = self.client.post(path, json={"model": "small", "stream": stream, **body})
        return f"{answer.headers}\n{answer.text}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    engine = Scripted()
    kit = Kit(moderator=FakeClassifier({"toxicity": [MARK]}))
    kit.engines = {"a": engine, "b": engine}  # type: ignore[dict-item]
    stages = [stage for stage in kit.gateway().policy.stages if stage not in {"recall", "remember"}]
    gateway = kit.gateway(stages=stages, guard={"leak": {"action": "block", "run": 40}})
    with serving(gateway) as base, httpx.Client(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as client:
        yield Site(client, engine)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_under_the_threshold_passes(site: Site, endpoint: str, stream: bool) -> None:
    assert "Well, fine" in site.says(endpoint, [Token("Well, fine"), end("stop")], stream=stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_the_moderator_stops_leaves_from_no_place(
    site: Site,
    endpoint: str,
    place: str,
    stream: bool,
) -> None:
    assert MARK not in site.says(endpoint, PLACES[place](MARK), stream=stream).lower()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_nor_in_the_words_of_an_error(site: Site, endpoint: str, stream: bool) -> None:
    for begun in ([], [Token("Well, ")]):
        for error in (
            EngineError(f"no {MARK}", retryable=False),
            EngineError("no", retryable=False, param=MARK, code="invalid_value"),
            EngineError("no", retryable=False, code=MARK),
            EngineError(MARK, retryable=False, code="context_length_exceeded"),
            EngineError(MARK, retryable=True),
        ):
            assert MARK not in site.says(endpoint, begun, stream=stream, error=error).lower()


@settings(deadline=None, max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(
    endpoint=st.sampled_from(sorted(ENDPOINTS)),
    places=st.lists(st.sampled_from(sorted(PLACES)), min_size=1, max_size=3),
    before=st.text("abc .\n", max_size=60),
    after=st.text("abc .\n", max_size=60),
    stream=st.booleans(),
)
def test_nor_from_several_places_with_any_words_around(
    site: Site,
    endpoint: str,
    places: list[str],
    before: str,
    after: str,
    stream: bool,
) -> None:
    script = [token for place in places for token in PLACES[place](f"{before}{MARK}{after}")]
    ends = [token for token in script if token.finish_reason]
    said = [token for token in script if not token.finish_reason] + ends[-1:]
    assert MARK not in site.says(endpoint, said, stream=stream).lower()


LEAKS = {place: made for place, made in PLACES.items() if place not in {"a call's id", "a second call's id"}}
"""An id of 64 characters at most, without blanks, holds no instructions."""


@pytest.mark.parametrize("place", LEAKS)
@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if name != "completions"])
def test_the_instructions_come_back_from_no_place_either(site: Site, endpoint: str, place: str) -> None:
    said = site.says(endpoint, LEAKS[place](SYSTEM), stream=True)
    assert SYSTEM not in said.replace(f'"instructions":"{SYSTEM}"', ""), "the caller's own field says it again"
