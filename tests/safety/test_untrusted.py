"""The pieces in which a prompt's outside texts are judged: nothing is lost, and no text takes long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.events import Message, Prompt
from app.safety.untrusted import MOST, pieces, strings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab c", max_size=5), inner, max_size=4),
    max_leaves=12,
)


def of(text: str, role: str = "user") -> list[str]:
    return pieces(Prompt((Message(role, text),)))


@given(st.text(alphabet="ab`\"'~<>/ \n", max_size=200))
def test_a_message_is_always_judged_whole_as_well(text: str) -> None:
    assert of(text)[:1] == ([text] if text else [])
    assert all(piece in text for piece in of(text))


def test_a_paste_is_a_piece_of_its_own() -> None:
    text = "Read this:\n```\nA long enough document\n```\nand <mail to='me'>Dear all, hello again</mail>."
    assert [text, "\nA long enough document\n", "Dear all, hello again"] == of(text)


def test_of_many_pastes_only_the_first_are_judged_apart() -> None:
    text = "".join(f"```paste number {at:05d} of many``` " for at in range(500))
    assert 1 + MOST == len(of(text))


@given(JSON)
def test_every_word_of_a_json_result_is_judged_whatever_it_is_nested_in(value: object) -> None:
    def said(node: object) -> list[str]:
        if isinstance(node, dict):
            return [text for one in node.values() for text in said(one)]
        if isinstance(node, list):
            return [text for one in node for text in said(one)]
        return [node] if isinstance(node, str) else []

    text = json.dumps([value])
    judged = strings(text)
    assert judged is not None
    for word in said(value):
        assert word in judged or strings(word) is not None


@pytest.mark.parametrize("text", ["", "plain", "{", '{"a": }', "[1, 2", "[" * 200_000, '{"a":' * 100_000])
def test_what_is_no_json_is_judged_as_it_stands(text: str) -> None:
    assert strings(text) is None
    assert of(text, "tool") == ([text] if text else [])


@pytest.mark.parametrize(
    "text",
    ["```" * 300_000, "<a>" * 300_000, "<a " * 300_000, "<a><b></a></b>" * 70_000, '"""x' * 250_000, "<" * 900_000],
)
def test_a_hostile_megabyte_takes_no_longer_than_a_plain_one(text: str) -> None:
    started = time.thread_time()
    of(text)
    of(text, "tool")
    assert time.thread_time() - started < 2
