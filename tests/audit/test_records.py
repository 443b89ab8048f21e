"""The audit chain's arithmetic: what is signed, and that nothing can be changed without its being seen."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audit.records import GENESIS, Entry, Record, canonical, link, seal, sign

KEY = b"k" * 32
texts = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.floats(allow_nan=False, allow_infinity=False)
entries = st.builds(
    Entry, texts, times, texts, texts, texts, st.dictionaries(texts, st.none() | st.integers(-9, 9) | texts, max_size=4)
)


def entry(**changes: Any) -> Entry:
    return replace(Entry("acme", 1.5, "call", "key_1", "call_1", {"cost": 1}), **changes)


@given(entries, st.integers(0, 10**12))
def test_a_record_says_what_its_entry_said_one_further_on(made: Entry, seq: int) -> None:
    record = link(KEY, seq, GENESIS, made)
    said = (record.chain, record.seq, record.at, record.kind, record.actor, record.subject, orjson.loads(record.data))
    assert (made.chain, seq + 1, made.at, made.kind, made.actor, made.subject, made.data) == said
    assert sign(KEY, GENESIS, record) == record.mac


@given(entries, st.sampled_from(["chain", "kind", "actor", "subject", "data"]), texts)
def test_no_text_of_a_record_can_be_changed_under_its_mac(made: Entry, name: str, other: str) -> None:
    record = link(KEY, 7, GENESIS, made)
    changed = replace(record, **{name: other})
    assert (changed == record) == (sign(KEY, GENESIS, changed) == record.mac)


@given(entries, times, st.integers(1, 10**12))
def test_no_number_of_a_record_can_be_changed_under_its_mac(made: Entry, at: float, seq: int) -> None:
    record = link(KEY, 7, GENESIS, made)
    changed = replace(record, at=at, seq=seq)
    same = (repr(at), seq) == (repr(record.at), record.seq)
    assert same == (sign(KEY, GENESIS, changed) == record.mac)


def test_text_that_moves_from_one_field_to_the_next_changes_the_mac() -> None:
    one, two = (link(KEY, 0, GENESIS, entry(kind=kind, actor=actor)) for kind, actor in (("ab", "c"), ("a", "bc")))
    assert one.mac != two.mac


def test_a_record_holds_only_after_the_record_it_was_written_after() -> None:
    first = link(KEY, 0, GENESIS, entry())
    second = link(KEY, 1, first.mac, entry())
    assert second.mac == sign(KEY, first.mac, second)
    assert second.mac != sign(KEY, GENESIS, second)


def test_another_key_signs_otherwise() -> None:
    record = link(KEY, 0, GENESIS, entry())
    assert record.mac != sign(b"l" * 32, GENESIS, record)


def test_a_whole_second_is_signed_as_the_database_gives_it_back() -> None:
    record = link(KEY, 0, GENESIS, entry(at=1_700_000_000))
    assert sign(KEY, GENESIS, replace(record, at=1_700_000_000.0)) == record.mac


def test_the_seal_holds_for_one_beginning_of_one_chain_only() -> None:
    seals = {seal(KEY, *begin) for begin in (("acme", 1, "a"), ("acme", 2, "a"), ("acme", 1, "b"), ("other", 1, "a"))}
    assert 4 == len(seals | {seal(KEY, "acme", 1, "a")})


def test_a_seal_is_no_mac_of_a_record() -> None:
    assert seal(KEY, "acme", 0, GENESIS) != sign(KEY, GENESIS, Record("acme", 0, 0.0, "", "", "", "", ""))


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ('{"a":1,"b":2}', {"b": 2, "a": 1}),
        ('{"a":["x","y"]}', {"a": {"y", "x"}}),
        ('{"a":{"b":1}}', {"a": MappingProxyType({"b": 1})}),
        ('{"a":"b\'x\'"}', {"a": b"x"}),
        ('{"1":2}', {1: 2}),
        ('{"a":null}', {"a": float("nan")}),
        ('{"a":"?x"}', {"a": "\ud800x"}),
        ('{"?":[1,{"b":"?"}]}', {"\ud800": [1, {"b": "\udfff"}]}),
        ('{"a":["b","?"]}', {"a": {"b", "\ud800"}}),
        ('{"a":"1180591620717411303424"}', {"a": 2**70}),
        (r'{"a":"\u0000"}', {"a": "\0"}),
    ],
)
def test_whatever_a_call_left_behind_is_json_that_a_database_takes(expected: str, data: dict[Any, Any]) -> None:
    assert expected == canonical(data)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.sets(st.text(max_size=3))))
def test_the_same_facts_are_the_same_bytes_in_any_order(data: dict[str, Any]) -> None:
    assert canonical(data) == canonical(dict(reversed(data.items())))
