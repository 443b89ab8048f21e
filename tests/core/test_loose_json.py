"""JSON as clients send it."""

from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.loose_json import loads

HALF = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])


@given(st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_what_the_standard_has_reads_as_it_does_there(value: object) -> None:
    for data in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert value == loads(data.encode())


@given(st.lists(st.text() | HALF, max_size=8).map("".join))
def test_half_a_pair_becomes_a_lost_character_and_all_else_stays(text: str) -> None:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert whole == loads(json.dumps(text).encode())


def test_half_a_pair_in_bytes_is_lost_too() -> None:
    assert "a\ufffdb" == loads(b'"a\xed\xa0\xbdb"')


@pytest.mark.parametrize("text", ["\\ud83d", "\\\\ud83d", "x\\"])
def test_an_escaped_backslash_is_no_escape(text: str) -> None:
    assert text + "\ufffd" == loads(json.dumps(text + "\ud83d").encode())


def test_a_byte_order_mark_is_skipped() -> None:
    assert [1] == loads(b"\xef\xbb\xbf[1]")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(orjson.JSONDecodeError, match="UTF-16"):
        loads('{"a": 1}'.encode(encoding))


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(orjson.JSONDecodeError):
        loads(data)
