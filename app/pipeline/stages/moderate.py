"""Let text leave only after it was scored.  generate -> [moderate] -> remember.

Reads Token; yields Token, or Refusal(content_filter) for a choice that reaches a threshold. When every choice
has ended the engine is told to stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from app.config import Moderate as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import ModerateDecision, ScreenDecision
from app.core.events import Event, Failure, Prompt, Refusal, Token
from app.core.ports import Classifier
from app.core.reader import Later, Reader
from app.core.stage import Events
from app.pipeline.assembly import Assembly
from app.pipeline.stages.guard import outside
from app.safety.segment import UNREADABLE
from app.safety.sliding_window import SlidingWindow
from app.safety.spoken import alternative

Scores = dict[str, float]
TELLING = 0.5
"""The share of an answer that could not be read from which it is told, also where no threshold is set on it."""


class Moderate:
    """Scores a choice's first piece at once, then whenever `stride` characters wait or `delay` has passed."""

    name = "moderate"

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self._classifier = classifier
        self._settings = settings

    @classmethod
    def of(cls, parts: Assembly) -> Moderate:
        return cls(parts.ports.moderator, parts.policy.moderate)

    async def __call__(self, call: Call, events: Events) -> Events:
        windows: dict[int, SlidingWindow] = {}
        over: set[int] = set()
        async with aclosing(Reader(events)) as reader:
            while len(over) < call.choices:
                waiting = any(window.waiting for window in windows.values())
                event = await reader.next(self._settings.delay if waiting else None)
                for passed in await self._score(call, self._due(call, event, windows, over)):
                    yield passed
                    if isinstance(passed, Refusal) or (isinstance(passed, Token) and passed.finish_reason):
                        over.add(passed.choice or 0)
                        windows.pop(passed.choice or 0, None)
                if event is None:
                    return
                if isinstance(event, Failure):
                    event = await self._told(call, event)
                if not isinstance(event, Token | Later):
                    yield event
            async with aclosing(self._closing(call, reader)) as closing:
                async for event in closing:
                    yield event

    async def _closing(self, call: Call, reader: Reader) -> Events:
        """What the engine says after every answer's end: its Usage. Nothing, when an answer was cut short."""
        if call.decisions.moderate and call.decisions.moderate.stopped:
            return
        while isinstance(event := await reader.next(self._settings.delay), Event):
            if not isinstance(event, Token):
                yield event

    def _due(
        self, call: Call, event: Event | Later | None, windows: dict[int, SlidingWindow], over: set[int]
    ) -> dict[int, SlidingWindow]:
        """Take the event in; the choices to score now. Silence, an error and the end call for all that wait."""
        if event is None or isinstance(event, Later | Refusal | Failure):
            return dict(windows)
        if not isinstance(event, Token) or event.choice in over:
            return {}
        settings = self._settings
        if event.choice not in windows:
            windows[event.choice] = SlidingWindow(settings.window, settings.overlap, call.tools)
        window = windows[event.choice]
        window.add(event)
        due = window.fresh or window.ended or window.waiting >= settings.stride
        return {event.choice: window} if due else {}

    async def _score(self, call: Call, due: Mapping[int, SlidingWindow]) -> list[Event]:
        """Score every due window in one request; the Tokens that may leave, or the Refusals in their place."""
        shown = {choice: window.shown() for choice, window in due.items()}
        flat = [text for parts in shown.values() for _, text in parts]
        scores = iter(await self._judged(call, flat) if flat else [])
        out: list[Event] = []
        for choice, parts in shown.items():
            scored = [(part, next(scores)) for part, _ in parts]
            if self._worst(call, [found for part, found in scored if not alternative(part)]):
                out.append(Refusal(self.name, errors.content_filter(), choice))
                continue
            others = self._over([found for part, found in scored if alternative(part)])
            out += due[choice].release(alternatives=others is None)
        return out

    async def _told(self, call: Call, failure: Failure) -> Failure:
        """The failure as it is, or without its words where those are an engine's that may not be shown."""
        error = failure.error
        words = [text for text in (error.message, error.param, error.code) if text]
        if self._over(await self._judged(call, words)) is None:
            return failure
        return replace(failure, error=errors.engine_words(error.status))

    async def _judged(self, call: Call, texts: list[str]) -> list[Scores]:
        with call.timed(self.name):
            return await self._classifier.score(texts)

    def _worst(self, call: Call, scored: Sequence[Scores]) -> str | None:
        """The label that reached its threshold, if any. Keeps the call's highest score of each label."""
        before = call.decisions.moderate or ModerateDecision()
        seen, stopped = dict(before.scores), self._over(scored)
        for scores in scored:
            unread = (UNREADABLE,) if scores.get(UNREADABLE, 0.0) >= TELLING else ()
            for label in (*self._settings.thresholds, *unread):
                seen[label] = max(seen.get(label, 0.0), round(scores.get(label, 0.0), 4))
        call.decisions.moderate = ModerateDecision(seen, stopped or before.stopped)
        return stopped

    def _over(self, scored: Sequence[Scores]) -> str | None:
        """The label that reached its threshold, if any."""
        stopped = None
        for scores in scored:
            for label, threshold in self._settings.thresholds.items():
                if scores.get(label, 0.0) >= threshold:
                    stopped = label
        return stopped


class Screen:
    """Scores the prompt as well, for a caller who asks for it (`Call.screen`).  guard -> [screen] -> recall."""

    name = "screen"

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self._classifier = classifier
        self._settings = settings

    @classmethod
    def of(cls, parts: Assembly) -> Screen:
        return cls(parts.ports.moderator, parts.policy.moderate)

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Score while the scrubber works; texts stay in this installation."""
        if call.screen:
            call.start(self.name, self._classifier.score(outside(prompt)))

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt) and call.screen and (flagged := await self._judge(call)):
                    yield Refusal(Moderate.name, errors.flagged_prompt(flagged))
                    return
                yield event

    async def _judge(self, call: Call) -> str | None:
        """The label that blocks it, if any. Keeps the highest score of each label."""
        with call.timed(self.name):
            scored: list[dict[str, float]] = await call.finished(self.name)
        highest = {label: max(scores[label] for scores in scored) for label in (scored[0] if scored else ())}
        over = [label for label, least in self._settings.thresholds.items() if highest.get(label, 0.0) >= least]
        flagged = over[0] if over and call.screen == "block" else None
        call.decisions.screen = ScreenDecision(highest, flagged)
        return flagged
