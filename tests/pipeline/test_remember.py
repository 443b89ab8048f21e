"""What is kept of an answer, what it is worth, and what the cache learns from comparing it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.core.events import Token
from app.core.ports import PortError, Vector
from app.core.tasks import drain
from app.testing.fakes import FakeEncoder, FakeEngine, FakeIndex, FakeParaphraseJudge
from tests.kit import WHO, Kit, ask, run, text_of

FIRST, SECOND = "How do I boil an egg?", "How do I boil one egg?"
RECALL: dict[str, Any] = {"shadow_share": 1e-9, "min_similarity": 0.5, "prior_weight": 0}


class Recorded(FakeIndex):
    """Also keeps what its entries are worth."""

    def __init__(self) -> None:
        super().__init__()
        self.worths: list[float] = []

    async def store(
        self, partition: str, vector: Vector, question: str, entry: Mapping[str, Any], ttl: float, worth: float = 0.0
    ) -> None:
        self.worths.append(worth)
        await super().store(partition, vector, question, entry, ttl, worth)


def kit(*answers: str, **parts: Any) -> Kit:
    """An engine that gives one answer after the other."""
    queue = list(answers)

    class Next(FakeEngine):
        def generate(self, request: Any) -> Any:
            self.answer = queue.pop(0) if queue else self.answer
            return super().generate(request)

    return Kit(
        engines={"a": Next(answers[-1]), "b": FakeEngine()}, paraphrase=FakeParaphraseJudge(lambda *_: 0.99), **parts
    )


async def learned(some: Kit) -> list[bool]:
    gateway = some.gateway(cache=RECALL)
    for question in (FIRST, SECOND):
        await run(gateway, ask(question))
    await drain()
    return [right for _, right in some.index.evidence.get("acme", ())]


# -- learning -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "fresh", "right"),
    [
        ("Eight minutes.", "eight minutes", True),
        ("Boil it for 8 minutes.", "For 8 minutes, boil it.", True),
        ("Boil it for 8 minutes.", "Boil it for 9 minutes.", False),
        ("Yes, in hot water.", "No, in hot water.", False),
        ("In a pot of water.", "Ask somebody who cooks often and well.", False),
    ],
)
async def test_a_comparison_teaches_whether_the_stored_answer_would_have_done(
    stored: str, fresh: str, right: bool
) -> None:
    assert await learned(kit(stored, fresh)) == [right]


async def test_the_lesson_is_kept_with_the_entry_that_was_compared() -> None:
    some = kit("Eight minutes.", "Nine hours.")
    await learned(some)
    assert {entry.question: entry.tried for entry in some.index.held.values()} == {FIRST: ((0.99, False),), SECOND: ()}


async def test_nothing_is_learned_from_an_answer_that_was_cut_short_or_stopped() -> None:
    some = kit("Eight minutes.", "Nine idiot minutes.")
    assert await learned(some) == []
    some = kit("Eight minutes.")
    gateway = some.gateway(cache=RECALL)
    for question in (FIRST, SECOND):
        await run(gateway, ask(question, max_tokens=1))
    await drain()
    assert some.index.evidence == {}


async def test_nobody_waits_for_the_comparison() -> None:
    compares = asyncio.Event()

    class Slow(FakeEncoder):
        async def encode(self, texts: Sequence[str]) -> Vector:
            if any("minutes" in text for text in texts):
                await compares.wait()
            return await super().encode(texts)

    some = kit("Boil it for 8 minutes.", "For 8 minutes, boil it.", encoder=Slow())
    gateway = some.gateway(cache=RECALL)
    await run(gateway, ask(FIRST))
    async with asyncio.timeout(20):
        _, events = await run(gateway, ask(SECOND))
    assert text_of(events)
    assert some.index.evidence == {}
    compares.set()
    await drain()
    assert some.index.evidence["acme"] == ((0.99, True),)


async def test_a_comparison_that_fails_is_logged_without_a_word_of_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeEncoder):
        async def encode(self, texts: Sequence[str]) -> Vector:
            if any("minutes" in text for text in texts):
                raise ValueError(texts[0])
            return await super().encode(texts)

    assert await learned(kit("Boil it for 8 minutes.", "For 8 minutes, boil it.", encoder=Broken())) == []
    assert "nothing learned" in caplog.text
    assert "minutes" not in caplog.text


# -- keeping ------------------------------------------------------------------------------------


async def test_an_answer_that_ended_at_the_token_limit_is_kept_only_where_the_config_says_so() -> None:
    for rules, held in (({}, 0), ({"cut_short": True}, 1)):
        some = kit("one two three four")
        await run(some.gateway(cache={"rules": rules}), ask(FIRST, max_tokens=2))
        assert await some.index.size() == held


@pytest.mark.parametrize("answer", ["", "  ", "x" * 40])
async def test_an_answer_that_says_nothing_or_too_much_is_not_kept(answer: str) -> None:
    some = kit(answer)
    await run(some.gateway(cache={"rules": {"max_answer": 30}}), ask(FIRST))
    assert await some.index.size() == 0


async def test_an_answer_is_worth_what_it_cost() -> None:
    some = kit("Eight minutes.", index=Recorded())
    await run(some.gateway(), ask(FIRST))
    assert some.index.worths == [float(some.rows[0].cost)]
    goods = {"a": {"input": 30, "cached_input": 30, "output": 60}}
    await run(some.gateway(costs=goods), ask(SECOND))
    assert some.index.worths[1] == float(some.rows[1].goods) > float(some.rows[1].cost)


async def test_an_answer_that_cannot_be_stored_is_answered_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    for error in (PortError("cache", "gone"), RuntimeError("Eight minutes")):
        some = kit("Eight minutes.")
        some.index.error = error
        call, events = await run(some.gateway(), ask(FIRST))
        assert text_of(events) == "Eight minutes."
        assert call.trail["remember"] == {"stored": False}
    assert "Eight" not in caplog.text


async def test_who_says_no_store_leaves_nothing_behind() -> None:
    some = kit("Eight minutes.")
    _, events = some.gateway().open(WHO, ask(FIRST), write_cache=False)
    assert [event.text async for event in events if isinstance(event, Token)]
    assert await some.index.size() == 0
