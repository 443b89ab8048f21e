"""`/tokenize` and `/detokenize` over a real server, with a real tokenizer; once with the bundled model's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engines.tokenizer import Vocabulary
from app.models.errors import ModelError
from tests.examples import examples
from tests.kit import KEY, WHO, WINDOW, Kit, serving
from tests.words import WORDS, vocabulary

HELLO, WORLD = WORDS["hello"], WORDS["world"]
AUTH = {"Authorization": f"Bearer {KEY}"}


def url_of(kit: Kit, tokenizer: Vocabulary | None) -> Any:
    gateway = kit.gateway()
    gateway.ports = replace(gateway.ports, tokenizer=tokenizer)
    return serving(gateway)


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def url(kit: Kit, tmp_path: Path) -> Iterator[str]:
    with url_of(kit, vocabulary(tmp_path)) as base:
        yield base


def post(url: str, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, headers=AUTH)


def error(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    said = answer.json()["error"]
    return answer.status_code, said["code"], said["param"]


def test_a_text_has_the_models_own_special_tokens_unless_they_are_not_wanted(url: str) -> None:
    whole = post(url, "/tokenize", prompt="hello world").json()
    assert {"count": 3, "max_model_len": WINDOW, "tokens": [0, HELLO, WORLD], "token_strs": None} == whole
    assert [HELLO] == post(url, "/tokenize", prompt="hello", add_special_tokens=False).json()["tokens"]


def test_a_chat_is_counted_as_its_template_writes_it(url: str) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    prompted = post(url, "/tokenize", messages=messages).json()
    assert [0, WORDS["user:"], HELLO, WORDS["assistant:"]] == prompted["tokens"]
    assert 3 == post(url, "/tokenize", messages=messages, add_generation_prompt=False).json()["count"]


def test_ids_become_their_text_again_special_ones_and_all(url: str) -> None:
    assert {"prompt": "<s> hello world"} == post(url, "/detokenize", tokens=[0, HELLO, WORLD]).json()
    assert {"prompt": ""} == post(url, "/detokenize", tokens=[]).json()


def test_nothing_is_billed(kit: Kit, url: str) -> None:
    post(url, "/tokenize", prompt="hello")
    assert [] == kit.rows


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/tokenize", {}, (400, "invalid_value", None)),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, (400, "invalid_value", None)),
        ("/tokenize", {"prompt": 3}, (400, "invalid_type", "prompt")),
        ("/tokenize", {"messages": []}, (400, "invalid_value", "messages")),
        ("/tokenize", {"messages": [{"role": "tool", "content": "b"}]}, (400, "invalid_value", "messages")),
        ("/tokenize", {"prompt": "a", "model": "gpt-9"}, (404, "model_not_found", "model")),
        ("/detokenize", {}, (400, "missing_required_parameter", "tokens")),
        ("/detokenize", {"tokens": [-1]}, (400, "invalid_value", "tokens[0]")),
        ("/detokenize", {"tokens": [len(WORDS)]}, (400, "invalid_value", "tokens")),
        ("/detokenize", {"tokens": [1], "model": "gpt-9"}, (404, "model_not_found", "model")),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_parameter(
    url: str, path: str, body: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert expected == error(post(url, path, **body))


def test_a_gateway_without_a_tokenizer_says_so(kit: Kit) -> None:
    with url_of(kit, None) as url:
        assert (400, "unsupported_parameter", "prompt") == error(post(url, "/tokenize", prompt="hello"))
        assert (400, "unsupported_parameter", "tokens") == error(post(url, "/detokenize", tokens=[1]))


def test_a_model_without_a_template_takes_no_chat(kit: Kit, tmp_path: Path) -> None:
    with url_of(kit, vocabulary(tmp_path, None)) as url:
        asked = post(url, "/tokenize", messages=[{"role": "user", "content": "hello"}])
    assert (400, "unsupported_parameter", "messages") == error(asked)


def test_a_key_needs_the_scope(kit: Kit, url: str) -> None:
    kit.authenticator.keys[KEY] = replace(WHO, scopes=frozenset({"embeddings"}))
    assert [403, 403] == [post(url, path, prompt="a", tokens=[1]).status_code for path in ("/tokenize", "/detokenize")]


@pytest.fixture(scope="module")
def bundled() -> Vocabulary:
    try:
        return Vocabulary("bundled:smollm2-135m-instruct")
    except ModelError as missing:
        pytest.skip(f"`penstock models prepare` has not run: {missing}")


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60))
def test_the_bundled_tokenizer_gives_every_plain_text_back(bundled: Vocabulary, text: str) -> None:
    assert text == bundled.decode(bundled.encode(text, special=False))


def test_the_bundled_models_chat_is_as_transformers_writes_it(bundled: Vocabulary) -> None:
    from transformers import AutoTokenizer

    from app.models.catalog import resolve

    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}
    tool = {"type": "function", "function": {"name": "look", "description": None, "parameters": {"type": "object"}}}
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "seen: \u00e9"},
        {"role": "assistant", "content": "Hi."},
    ]
    theirs = AutoTokenizer.from_pretrained(resolve("bundled:smollm2-135m-instruct"))
    for prompt, tools in itertools.product((True, False), (None, [tool])):
        expected = theirs.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=prompt)
        assert expected == bundled.chat(messages, prompt=prompt, tools=tools)


def test_tools_make_the_bundled_models_chat_longer_everywhere(kit: Kit, bundled: Vocabulary) -> None:
    hi = [{"role": "user", "content": "hi"}]
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    about = {"name": "look", "parameters": schema}
    with url_of(kit, bundled) as url:

        def counted(path: str, key: str, **body: Any) -> tuple[int, int, int]:
            chat, flat, theirs = {"type": "function", "function": about}, {"type": "function", **about}, {}
            theirs = {"name": "look", "input_schema": schema}
            tools = {"/tokenize": chat, "/v1/responses/input_tokens": flat}.get(path, theirs)
            both = [post(url, path, model="small", **body, **more).json()[key] for more in ({}, {"tools": [tools]})]
            return both[0], both[1], both[1] - both[0]

        alike = {
            counted("/tokenize", "count", messages=hi),
            counted("/v1/messages/count_tokens", "input_tokens", messages=hi),
            counted("/v1/responses/input_tokens", "input_tokens", input="hi"),
        }
    assert 1 == len(alike)
    assert 100 < alike.pop()[2]
