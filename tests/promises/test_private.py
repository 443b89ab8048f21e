"""Nothing personal reaches an engine: a marker in every string of a request, in every API, one at a time.

The requests hold every field of their models, and a test sees to that; a field that is new fails it until it is here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.anthropic.request import MessagesRequest
from app.api.openai.chat.request import ChatRequest
from app.api.openai.completions.request import CompletionRequest
from app.api.openai.embeddings import EmbeddingRequest
from app.api.openai.moderations import ModerationRequest
from app.api.openai.responses.request import ResponsesRequest
from app.api.whose import NOT_IDENTITY
from app.core.ports import Generation
from app.testing.fakes import FakeEngine, FakeScrubber
from tests.kit import KEY, Kit, serving

NAME, MAIL, WORD = "Nora Quill", "nora@example.org", "Nora_Quill"
MARKERS = [NAME, MAIL, WORD, f"ask {NAME} at {MAIL}"]
STAGES = ["admit", "guard", "route", "generate", "moderate", "settle"]
Path = tuple[str | int, ...]

SCHEMA = {
    "type": "object", "title": "t", "description": "d", "$comment": "c", "x-owner": "o", "examples": ["e"],
    "properties": {
        "to": {"type": "string", "enum": ["a"], "default": "b"},
        "re": {"type": "string", "pattern": "^p$"},
        "at": {"const": "k"},
    },
    "required": ["to"],
    "$defs": {"n": {"type": "string"}},
}  # fmt: skip
TOOL = {"name": "f", "description": "d", "parameters": SCHEMA}
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}]
EXTENSIONS = {"structured_outputs": {"choice": ["a", "b"]}, "chat_template_kwargs": {"enable_thinking": "no"}}
"""vLLM's own fields that take words."""
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "p"}], "name": "n"},
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call_1", "content": "r"},
            {"role": "user", "content": "q"},
        ],
        "stop": ["zz"], "user": "u", "safety_identifier": "i", "prompt_cache_key": "k", "metadata": {"m": "v"},
        "tools": [{"type": "function", "function": TOOL}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "description": "d", "schema": SCHEMA}},
    },
    "/v1/completions": {"prompt": "once", "stop": ["zz"], "user": "u"},
    "/v1/messages": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "p"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "r"}]},
        ],
        "max_tokens": 9, "system": "s", "stop_sequences": ["zz"], "metadata": {"user_id": "u"},
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
    "/v1/responses": {
        "input": [
            {"role": "user", "content": "p"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": "b"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
        ],
        "instructions": "s", "metadata": {"m": "v"}, "user": "u", "safety_identifier": "i", "prompt_cache_key": "k",
        "tools": [{"type": "function", **TOOL}],
        "text": {"format": {"type": "json_schema", "name": "x", "description": "d", "schema": SCHEMA}},
    },
    "/v1/embeddings": {"model": "embedding", "input": ["once", "twice"], "user": "u"},
    "/v1/moderations": {"model": "moderation", "input": ["once", "twice"]},
}  # fmt: skip
MODELS = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/messages": MessagesRequest,
    "/v1/responses": ResponsesRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/moderations": ModerationRequest,
}
NO_WORDS = {
    "n", "seed", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "parallel_tool_calls",
    "reasoning_effort", "moderation", "tool_choice", "suffix", "echo", "best_of", "thinking", "reasoning", "truncation",
    "include", "encoding_format", "dimensions", "min_p", "repetition_penalty", "min_tokens", "stop_token_ids",
    "ignore_eos",
    "skip_special_tokens", "include_stop_str_in_output",
}  # fmt: skip
"""Fields that take numbers, or words of a list alone."""


def leaves(node: Any, path: Path = ()) -> Iterator[Path]:
    """Every string and every key of a body."""
    if isinstance(node, str):
        yield path
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from leaves(value, (*path, at))


def planted(node: Any, path: Path, text: str) -> Any:
    """The same body with `text` at that place."""
    if not path:
        return text
    made = dict(node) if isinstance(node, Mapping) else list(node)
    made[path[0]] = planted(node[path[0]], path[1:], text)
    return made


PLACES = [(api, path) for api, body in BODIES.items() for path in leaves(body)]


class Sides:
    """The same gateway with and without the stages that hide."""

    def __init__(self, hiding: httpx.Client, plain: httpx.Client, kits: tuple[Kit, Kit]) -> None:
        self.hiding, self.plain, self.kits = hiding, plain, kits

    def sent(self, client: httpx.Client, kit: Kit, api: str, body: Mapping[str, Any]) -> list[Generation]:
        """What the engines got."""
        for engine in kit.engines.values():
            engine.requests.clear()
        answer = client.post(api, json={"model": "small", **body})
        assert answer.status_code in (200, 400, 404), answer.text
        return [request for engine in kit.engines.values() for request in engine.requests]


def kit() -> Kit:
    return Kit(
        engines={"a": FakeEngine("ok"), "b": FakeEngine("ok")}, scrubber=FakeScrubber(names=[NAME, WORD, "José Núñez"])
    )


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    kits = kit(), kit()
    head = {"authorization": f"Bearer {KEY}"}
    with (
        serving(kits[0].gateway()) as one,
        serving(kits[1].gateway(stages=STAGES)) as two,
        httpx.Client(base_url=one, headers=head, timeout=30) as hiding,
        httpx.Client(base_url=two, headers=head, timeout=30) as plain,
    ):
        yield Sides(hiding, plain, kits)


@pytest.mark.parametrize("api", sorted(BODIES))
def test_the_requests_hold_every_field_that_takes_words(api: str) -> None:
    known = {field.alias or name for name, field in MODELS[api].model_fields.items()}
    of_its_own = {name for more in OF_ITS_OWN.get(api, ()) for name in more}
    assert known - NO_WORDS - NOT_IDENTITY - of_its_own <= BODIES[api].keys()


WORDED: list[Mapping[str, Any]] = [
    {"guided_json": SCHEMA},
    {"guided_regex": "a|b"},
    {"guided_choice": ["a", "b"]},
    {"guided_grammar": 'root ::= "a"'},
    EXTENSIONS,
]
OF_ITS_OWN: Mapping[str, list[Mapping[str, Any]]] = {
    "/v1/chat/completions": WORDED,
    "/v1/completions": WORDED,
    "/v1/messages": [{"output_format": {"type": "json_schema", "schema": SCHEMA}}],
}
"""Fields that do not go with others of BODIES."""


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("api", sorted(OF_ITS_OWN))
def test_a_marker_in_a_field_of_its_own_never_reaches_an_engine(sides: Sides, api: str, marker: str) -> None:
    plain = {name: value for name, value in BODIES[api].items() if name in ("messages", "prompt", "max_tokens")}
    leaked = []
    for more in OF_ITS_OWN[api]:
        for path in leaves(more):
            requests = sides.sent(sides.hiding, sides.kits[0], api, {**plain, **planted(more, path, marker)})
            leaked += [path for request in requests if any(one in repr(request) for one in (NAME, MAIL, WORD))]
    assert leaked == []


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("api", sorted(BODIES))
def test_a_marker_in_any_string_never_reaches_an_engine(sides: Sides, api: str, marker: str) -> None:
    leaked = []
    for where, path in PLACES:
        if where == api:
            requests = sides.sent(sides.hiding, sides.kits[0], api, planted(BODIES[api], path, marker))
            leaked += [path for request in requests if any(one in repr(request) for one in (NAME, MAIL, WORD))]
    assert leaked == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.text("abcdefgh_", min_size=1, max_size=9), marker=st.sampled_from(MARKERS), deep=st.booleans())
def test_a_marker_in_a_field_that_nobody_has_heard_of_never_reaches_an_engine(
    sides: Sides, field: str, marker: str, *, deep: bool
) -> None:
    value = {"a": [{"b": marker}]} if deep else marker
    for api in ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"):
        requests = sides.sent(sides.hiding, sides.kits[0], api, {**BODIES[api], f"x_{field}": value})
        assert not any(one in repr(request) for request in requests for one in (NAME, MAIL, WORD))


def back(request: Generation) -> str:
    """What the engine got, with the originals in place of their names."""
    said = json.dumps([[message.wire() for message in request.messages], request.params], ensure_ascii=False)
    return said.replace("<PERSON_1>", NAME).replace("<EMAIL_ADDRESS_1>", MAIL)


@pytest.mark.parametrize("api", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"])
def test_with_placeholders_put_back_the_engine_gets_the_request_byte_for_byte(sides: Sides, api: str) -> None:
    """Of every place but names and ids, whose placeholders are spelt as names are; a pattern is widened on purpose."""
    compared = 0
    whole = unshaped(BODIES[api])
    for path in leaves(whole):
        if path[-1] in ("name", "id", "tool_call_id", "call_id", "tool_use_id"):
            continue
        marker = f'{{"a": "{NAME}"}}' if path[-1] == "arguments" else f'ask {NAME} "at" {MAIL}'
        body = planted(whole, path, marker)
        hidden = sides.sent(sides.hiding, sides.kits[0], api, body)
        plain = sides.sent(sides.plain, sides.kits[1], api, body)
        assert [back(one) for one in hidden] == [back(one) for one in plain], path
        compared += any("<PERSON_1>" in repr(one) for one in hidden)
    assert compared


def unshaped(node: Any) -> Any:
    """The same body without patterns."""
    if isinstance(node, Mapping):
        return {key: unshaped(value) for key, value in node.items() if key != "pattern"}
    return [unshaped(one) for one in node] if isinstance(node, list) else node


def test_a_name_that_is_spelt_with_escapes_is_found(sides: Sides) -> None:
    body = {"messages": [{"role": "user", "content": '{"who": "Jos\\u00e9 N\\u00fa\\u00f1ez"}'}]}
    (request,) = sides.sent(sides.hiding, sides.kits[0], "/v1/chat/completions", body)
    assert request.messages[0].text == '{"who": "<PERSON_1>"}'


def test_a_name_that_was_seen_once_is_hidden_in_every_message(sides: Sides) -> None:
    body = {"messages": [{"role": "user", "content": f"I am {NAME}."}, {"role": "assistant", "content": f"Hi {NAME}"},
                         {"role": "user", "content": f"x{NAME.lower()} and {NAME}!"}]}  # fmt: skip
    (request,) = sides.sent(sides.hiding, sides.kits[0], "/v1/chat/completions", body)
    assert NAME not in repr(request)
