"""Every Scrubber: spans of what is personal, sorted, never overlapping, one list for each text."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.config.adapters import load
from app.core.ports import Scrubber
from app.runtime.prepare import prepare
from tests.examples import examples

PARTS = [
    "Grace Hopper",
    "grace@navy.example.com",
    "4111 1111 1111 1111",
    "(212) 555-0187",
    "+1 212-555-0187",
    "says",
    "from",
    "2,500",
    "<PERSON_1>",
    "\n",
    "élan \N{PILE OF POO}",
]


@pytest.fixture(scope="module", params=["fake", "presidio"])
def scrubber(request: pytest.FixtureRequest) -> Scrubber:
    prepare(["bundled:names-minilm"])
    return load("scrubber", request.param)(**({"names": ["Grace Hopper"]} if request.param == "fake" else {}))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("PERSON", "Grace Hopper"),
        ("EMAIL_ADDRESS", "grace@navy.example.com"),
        ("CREDIT_CARD", "4111 1111 1111 1111"),
        ("PHONE_NUMBER", "(212) 555-0187"),
    ],
)
async def test_a_span_covers_exactly_what_is_personal(scrubber: Scrubber, kind: str, value: str) -> None:
    text = f"Yesterday I had a message from {value}, which I will answer soon."
    (spans,) = await scrubber.scan([text])
    assert [(kind, value)] == [(s.type, text[s.start : s.end]) for s in spans]
    assert 0 < spans[0].score <= 1


async def test_each_text_has_its_own_list_in_order(scrubber: Scrubber) -> None:
    found = await scrubber.scan(["write to a@b.com", "", "nothing personal is said in here", "or to longer@mail.com"])
    assert [[s.type for s in spans] for spans in found] == [["EMAIL_ADDRESS"], [], [], ["EMAIL_ADDRESS"]]


async def test_no_texts_give_no_lists(scrubber: Scrubber) -> None:
    assert await scrubber.scan([]) == []


async def test_two_scans_at_once_each_get_their_own_spans(scrubber: Scrubber) -> None:
    first, second = await asyncio.gather(scrubber.scan(["to x@y.com"]), scrubber.scan(["please send it to x@y.com"]))
    assert (first[0][0].start, second[0][0].start) == (3, 18)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(PARTS), max_size=12), glue=st.sampled_from([" ", ", ", ""]))
def test_spans_are_sorted_inside_the_text_and_never_overlap(scrubber: Scrubber, parts: list[str], glue: str) -> None:
    text = glue.join(parts)
    (spans,) = asyncio.run(scrubber.scan([text]))
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))
