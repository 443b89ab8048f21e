"""No character leaves before a window that contains it was scored under the threshold: text, tools, many choices."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

from app.config import Moderate as Settings
from app.core.call import Call
from app.core.events import Event, Refusal, Token, ToolDelta, Usage
from app.core.stage import Events
from app.pipeline.stages.moderate import Moderate
from app.testing.fakes import FakeClassifier
from tests.examples import examples
from tests.kit import WHO, Kit, ask, collect, run, text_of

BAD = "@"
Part = tuple[int, int | None]
PART = st.tuples(st.integers(0, 2), st.none() | st.integers(0, 2))
"""Which choice, and which of its tool calls; None is its text."""
WORDS = ["a", "bb", " ", "\n", "é", "e\u0301", "漢字", "🙂", "👩\u200d🚀", "\u200b", "<PERSON_1>", "<EMAIL_ADDRESS_2>"]
CLEAN = st.lists(st.sampled_from(WORDS), max_size=25).map("".join)
SAID = CLEAN | st.text("ab@ ", max_size=30) | st.text("ab ", min_size=60, max_size=150)
WAIT = st.sampled_from([None, None, None, None, 0.0, 0.01])
PIECE = st.tuples(PART, SAID, WAIT)
"""What is said, and how long the engine then waits; None is not at all. Tokens are cut anywhere, also in characters
that are written with several, and in placeholders.
"""


def rated(text: str) -> float:
    return float(BAD in text)


class Scorer:
    """Refuses windows with a BAD character in them, and marks what stood in those that it passed."""

    def __init__(self, whole: dict[Part, str], pause: float = 0.0) -> None:
        self.whole = whole
        self.passed = {part: [False] * len(text) for part, text in whole.items()}
        self.pause = pause

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        await asyncio.sleep(self.pause)
        for text in texts:
            if text and not rated(text):
                self._mark(text)
        return [{"toxicity": rated(text)} for text in texts]

    def _mark(self, text: str) -> None:
        for part, whole in self.whole.items():
            at = whole.find(text)
            while at >= 0:
                self.passed[part][at : at + len(text)] = [True] * len(text)
                at = whole.find(text, at + 1)


def unique(pieces: list[Any]) -> list[tuple[Part, str, float | None]]:
    """Every a and b made a character of its own, so that a window tells where it stood."""
    letters = iter(range(0x4E00, 0x9FFF))
    return [(part, "".join(chr(next(letters)) if c in "ab" else c for c in said), wait) for part, said, wait in pieces]


def cut(pieces: list[Any], cuts: list[int]) -> list[Any]:
    """The same, each piece as several Tokens of random lengths."""
    out: list[Any] = []
    for number, (part, said, wait) in enumerate(pieces):
        step = cuts[number % len(cuts)]
        out += [(part, said[at : at + step], None) for at in range(0, len(said), step)]
        out.append((part, "", wait))
    return out


def whole_of(pieces: list[Any]) -> dict[Part, str]:
    whole: dict[Part, str] = defaultdict(str)
    for part, said, _ in pieces:
        whole[part] += said
    return dict(whole)


async def source(pieces: list[Any], choices: int = 1) -> Events:
    for number, ((choice, tool), said, wait) in enumerate(pieces):
        if wait is not None:
            await asyncio.sleep(wait)
        yield Usage(1, number)
        yield Token("", choice, tool=ToolDelta(tool, said)) if tool is not None else Token(said, choice)
    for choice in range(choices):
        yield Token("", choice, finish_reason="stop")


def settings(window: int, stride: int, overlap: int | None = None, delay: float = 0.005) -> Settings:
    return Settings(thresholds={"toxicity": 0.5}, window=window, overlap=overlap, stride=stride, delay=delay)


def calling(choices: int = 1) -> Call:
    return Call("call", WHO, time.monotonic() + 60, choices=choices)


@profile(deadline=None, max_examples=examples(60))
@given(
    pieces=st.lists(PIECE, max_size=16),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    stride=st.integers(1, 31),
    window=st.integers(32, 64),
    overlap=st.none() | st.integers(0, 31),
    pause=st.sampled_from([0.0, 0.0, 0.003]),
)
async def test_every_character_that_leaves_stood_in_a_window_that_was_scored_under_the_threshold(
    pieces: list[Any], cuts: list[int], stride: int, window: int, overlap: int | None, pause: float
) -> None:
    made = cut(unique(pieces), cuts)
    whole = whole_of(made)
    scorer = Scorer(whole, pause)
    left: dict[Part, str] = defaultdict(str)
    over: set[int] = set()
    async for event in Moderate(scorer, settings(window, stride, overlap))(calling(3), source(made, 3)):
        check(event, scorer, over, left)
    for choice in range(3):
        assert choice in over
        if not any(rated(text) for part, text in whole.items() if part[0] == choice):
            assert {p: t for p, t in left.items() if p[0] == choice and t} == {
                p: t for p, t in whole.items() if p[0] == choice and t
            }


def check(event: Event, scorer: Scorer, over: set[int], left: dict[Part, str]) -> None:
    """At the moment that it leaves, not later."""
    if isinstance(event, Refusal):
        assert event.choice is not None
        over.add(event.choice)
    if not isinstance(event, Token):
        return
    assert event.choice not in over
    if event.finish_reason:
        over.add(event.choice)
    part = event.choice, event.tool.index if event.tool else None
    if event.said:
        at = len(left[part])
        assert scorer.whole[part].startswith(event.said, at), "in order and unchanged"
        assert all(scorer.passed[part][at : at + len(event.said)])
    left[part] += event.said


@profile(deadline=None, max_examples=examples(60))
@given(
    before=st.text("ab ", max_size=90),
    after=st.text("ab ", max_size=90),
    phrase=st.text("xyz ", min_size=1, max_size=17),
    tool=st.booleans(),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    stride=st.integers(1, 31),
)
async def test_a_forbidden_phrase_never_leaves_whole_however_it_is_split(
    before: str, after: str, phrase: str, tool: bool, cuts: list[int], stride: int
) -> None:
    forbidden = f"x{phrase}z"  # at most 19 characters: no longer than the overlap

    class Reader:
        async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
            return [{"toxicity": float(forbidden in text)} for text in texts]

    part = (0, 0 if tool else None)
    noise = ((0, 1), "abab", None)  # of another tool call, in turns with the phrase's
    made = [p for piece in cut([(part, before + forbidden + after, None)], cuts) for p in (piece, noise)]
    events = await collect(Moderate(Reader(), settings(32, stride, 20))(calling(), source(made)))
    index = part[1]
    said = [e.said for e in events if isinstance(e, Token) and (e.tool.index if e.tool else None) == index]
    assert forbidden not in "".join(said)
    assert isinstance(events[-1], Refusal)


async def test_what_waits_leaves_after_the_delay_though_the_engine_is_silent() -> None:
    heard = asyncio.Event()

    async def silent() -> Events:
        yield Token("one")
        yield Token(" two")
        await heard.wait()
        yield Token("", finish_reason="stop")

    left = ""
    async for event in Moderate(FakeClassifier({"toxicity": ["@"]}), settings(64, 48))(calling(), silent()):
        assert isinstance(event, Token)
        left += event.text
        if left == "one two":
            heard.set()
    assert heard.is_set()


async def test_nothing_leaves_when_the_scorer_is_down() -> None:
    class Down:
        async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
            raise RuntimeError

    left = Moderate(Down(), settings(64, 48))(calling(), source([((0, None), "hello", None)]))
    assert isinstance(await anext(left), Usage)
    with pytest.raises(RuntimeError):
        await anext(left)


async def test_an_answer_from_the_cache_is_scored_like_any_other() -> None:
    kit = Kit()
    await run(kit.gateway(), ask("What is rust?"))
    kit.moderator = FakeClassifier({"toxicity": ["rust"]})
    call, events = await run(kit.gateway(), ask("What is rust?"))
    assert call.hit
    assert "rust" not in text_of(events)
    assert any(isinstance(event, Refusal) for event in events)


def test_an_overlap_as_long_as_the_window_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"overlap: 64 must be below window \(64\)"):
        settings(64, 8, 64)
