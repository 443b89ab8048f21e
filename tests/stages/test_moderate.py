"""No character leaves before a window that contains it was scored under the threshold: text, tools, many choices."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.call import Call
from app.config import Moderate as Settings
from app.events import Event, Refusal, Token, ToolDelta, Usage
from app.stage import Events
from app.stages.moderate import Moderate
from tests.kit import WHO

BAD = "@"
PART = st.tuples(st.integers(0, 2), st.none() | st.integers(0, 2))
"""Which choice, and which of its tool calls; None is its text."""
PIECE = st.tuples(
    PART,
    st.text("ab@ ", max_size=30) | st.text("ab ", min_size=60, max_size=150),
    st.sampled_from([None, None, None, 0.0, 0.02]),
)
"""What is said, and how long the engine then waits; None is not at all."""


class Scorer:
    """Refuses windows with a BAD character in them, and remembers those it passed."""

    def __init__(self, pause: float) -> None:
        self.passed: list[str] = []
        self.pause = pause

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        await asyncio.sleep(self.pause)
        self.passed += [text for text in texts if BAD not in text]
        return [{"toxicity": float(BAD in text)} for text in texts]


def unique(pieces: list[Any]) -> list[tuple[int, int | None, str, float | None]]:
    """Every character made one of its own, so that a window that holds it can hold no other like it."""
    letters = iter(range(0x4E00, 0x9FFF))
    return [
        (choice, tool, "".join(c if c in " @" else chr(next(letters)) for c in said), wait)
        for (choice, tool), said, wait in pieces
    ]


async def source(pieces: list[Any], choices: int) -> Events:
    for number, (choice, tool, said, wait) in enumerate(pieces):
        if wait is not None:
            await asyncio.sleep(wait)
        yield Usage(1, number)
        yield Token("", choice, tool=ToolDelta(tool, said)) if tool is not None else Token(said, choice)
    for choice in range(choices):
        yield Token("", choice, finish_reason="stop")


@given(
    pieces=st.lists(PIECE, max_size=25),
    stride=st.integers(1, 31),
    window=st.integers(32, 64),
    pause=st.sampled_from([0.0, 0.005]),
)
async def test_every_character_that_leaves_stood_in_a_window_that_was_scored_under_the_threshold(
    pieces: list[Any], stride: int, window: int, pause: float
) -> None:
    scorer, made = Scorer(pause), unique(pieces)
    settings = Settings(thresholds={"toxicity": 0.5}, window=window, stride=stride, delay=0.01)
    call = Call("call", WHO, time.monotonic() + 60, choices=3)
    left: dict[tuple[int, int | None], str] = defaultdict(str)
    over: set[int] = set()
    async for event in Moderate(scorer, settings)(call, source(made, 3)):
        check(event, scorer, over, left)
    for choice in range(3):
        whole = "".join(said for c, _, said, _ in made if c == choice)
        shown = "".join(said for (c, _), said in left.items() if c == choice)
        assert choice in over
        if BAD not in whole:
            assert sorted(whole) == sorted(shown)
    for (choice, tool), shown in left.items():
        assert "".join(said for c, t, said, _ in made if (c, t) == (choice, tool)).startswith(shown)


def check(event: Event, scorer: Scorer, over: set[int], left: dict[tuple[int, int | None], str]) -> None:
    """At the moment that it leaves, not later."""
    if isinstance(event, Refusal):
        assert event.choice is not None
        over.add(event.choice)
    if not isinstance(event, Token):
        return
    assert event.choice not in over
    if event.finish_reason:
        over.add(event.choice)
    assert BAD not in event.said
    scored = set("".join(scorer.passed))
    assert set(event.said.replace(" ", "")) <= scored
    left[event.choice, event.tool.index if event.tool else None] += event.said
