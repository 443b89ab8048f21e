"""Only calls of the request's own tools pass, and their ids are such as a client may keep."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.events import Token, ToolDelta
from app.pipeline.stages.tools import Calls, tool_names
from tests.examples import examples

NAMES = frozenset({"search", "time"})


def told(*tokens: Token) -> list[Token]:
    calls = Calls()
    return [passed for token in tokens for passed in calls.passed(token, NAMES)]


def piece(index: int, arguments: str = "", id_: str | None = None, name: str | None = None) -> Token:
    return Token("", tool=ToolDelta(index, arguments, id_, name))


def test_a_call_of_a_tool_that_the_request_has_passes_as_it_is() -> None:
    said = [piece(0, "", "call_1", "search"), piece(0, "{}"), Token("", finish_reason="tool_calls")]
    assert said == told(*said)


def test_a_call_of_any_other_tool_is_told_as_text_and_ends_like_text() -> None:
    found = told(piece(0, "", "c", "rm"), piece(0, '{"all": true}'), Token("", finish_reason="tool_calls"))
    assert 'rm({"all": true})' == "".join(token.text for token in found)
    assert [None, None, None] == [token.tool for token in found]
    assert "stop" == found[-1].finish_reason


def test_beside_an_unknown_call_the_known_ones_are_numbered_without_a_gap() -> None:
    found = told(piece(0, "", "a", "rm"), piece(1, "{}", "b", "time"), Token("", finish_reason="tool_calls"))
    assert [0] == [token.tool.index for token in found if token.tool]
    assert "tool_calls" == found[-1].finish_reason


def test_names_are_found_however_a_tool_is_spelt() -> None:
    tools = [{"type": "function", "function": {"name": "a"}}, {"name": "b"}, {"custom": {"name": "c"}}, "d"]
    assert ["a", "b", "c"] == list(tool_names({"tools": tools}))
    assert [] == list(tool_names({"tools": None}))


@settings(deadline=None, max_examples=examples(60))
@given(st.text(max_size=80))
def test_every_id_that_passes_is_one_that_any_api_takes(id_: str) -> None:
    (found,) = told(piece(0, "", id_, "time"))
    assert found.tool
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found.tool.id or "")
    assert found.tool.id == id_ or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id_)


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.text("ab", max_size=3), st.text(max_size=5))))
def test_no_other_name_passes_whatever_the_engine_says(said: list[tuple[int, str | None, str]]) -> None:
    for token in told(*(piece(at, arguments, "i", name) for at, name, arguments in said)):
        assert token.tool is None or token.tool.name in NAMES | {None}
