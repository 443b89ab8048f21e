"""A batch's input, read as it streams."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batches.check import LONGEST, MOST, Checker, Splitter
from tests.batch_kit import CHAT, task

MODELS = ("auto", "small")


def checked(*texts: bytes, most: int = 1000) -> Checker:
    checker = Checker(CHAT, MODELS, most)
    at = 0
    for text in texts:
        checker.take(at, text)
        at += len(text) + 1
    checker.end()
    return checker


def text(custom_id: str = "a", **changes: object) -> bytes:
    return json.dumps(task(custom_id, **changes)).encode()


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_lines_come_out_whole_with_their_places_however_the_file_is_cut(data: bytes, cuts: list[int]) -> None:
    splitter, found, last = Splitter(), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        found += list(splitter.feed(data[last:cut]))
        last = max(last, cut)
    found.append(splitter.last())
    assert data.split(b"\n") == [line for _, line in found]
    for start, line in found:
        assert line == data[start : start + len(line)]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_no_input_breaks_the_check_and_every_line_is_good_or_told(raw: list[bytes]) -> None:
    checker = checked(*(line.replace(b"\n", b"") for line in raw))
    assert checker.problems
    assert all(problem.code and problem.message for problem in checker.problems)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda t: st.lists(t) | st.dictionaries(st.text(), t)
    )
)
def test_no_value_of_any_field_breaks_the_check(value: object) -> None:
    for name in ("custom_id", "method", "url", "body"):
        checked(text(**{name: value}) if name != "custom_id" else json.dumps(task("a") | {name: value}).encode())
    for name in ("model", "stream"):
        checked(text(body={"messages": [], name: value}))


def test_good_lines_are_entries_with_the_number_that_they_have_in_the_file() -> None:
    checker = checked(text("a"), b"", text("b"), b"  ")
    assert [(1, "a"), (3, "b")] == [(one.number, one.custom_id) for one in checker.entries]
    assert ([], 2) == (checker.problems, checker.total)


def test_a_line_and_a_file_that_are_too_long_are_told() -> None:
    assert ["line_too_long"] == [one.code for one in checked(b"x" * (LONGEST + 1)).problems]
    assert ["too_many_tasks"] == [one.code for one in checked(text("a"), text("b"), text("c"), most=2).problems]


def test_reading_ends_after_many_faults() -> None:
    checker = checked(*[b"x"] * (MOST - 1))
    assert not checker.over
    assert checked(*[b"x"] * MOST).over


def test_a_model_that_is_left_out_is_the_routes_to_refuse_and_a_stream_that_is_false_is_none() -> None:
    assert [] == checked(text(body={"messages": [], "stream": False})).problems


@pytest.mark.parametrize(
    "line",
    [
        b"\xef\xbb\xbf" + text(),
        text() + b"\r",
        text(method="post"),
        text("a\u00a0b"),
        text().replace(b'"a"', b'"a\\ud83d"'),
    ],
)
def test_a_line_as_spreadsheets_and_editors_write_it_is_read(line: bytes) -> None:
    checker = checked(line)
    assert [] == checker.problems
    assert 1 == len(checker.entries)


@pytest.mark.parametrize("name", ["a\nb", "a\0", "a\u2028b", "\x85"])
def test_a_custom_id_that_would_break_a_line_is_told(name: str) -> None:
    assert ["invalid_custom_id"] == [problem.code for problem in checked(text(name)).problems]
