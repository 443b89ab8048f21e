"""Let text leave only after it was scored.  generate -> [moderate] -> remember.

Reads Token; yields Token, or Refusal(content_filter) for a choice that reaches a threshold. When every choice
has ended the engine is told to stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

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
from app.safety.sliding_window import SlidingWindow


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
                for passed in await self._score(call, self._due(event, windows, over)):
                    yield passed
                    if isinstance(passed, Refusal) or (isinstance(passed, Token) and passed.finish_reason):
                        over.add(passed.choice or 0)
                        windows.pop(passed.choice or 0, None)
                if event is None:
                    return
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
        self, event: Event | Later | None, windows: dict[int, SlidingWindow], over: set[int]
    ) -> dict[int, SlidingWindow]:
        """Take the event in; the choices to score now. Silence, an error and the end call for all that wait."""
        if event is None or isinstance(event, Later | Refusal | Failure):
            return dict(windows)
        if not isinstance(event, Token) or event.choice in over:
            return {}
        settings = self._settings
        window = windows.setdefault(event.choice, SlidingWindow(settings.window, settings.overlap))
        window.add(event)
        due = window.fresh or window.ended or window.waiting >= settings.stride
        return {event.choice: window} if due else {}

    async def _score(self, call: Call, due: Mapping[int, SlidingWindow]) -> list[Event]:
        """Score every due window in one request; the Tokens that may leave, or the Refusals in their place."""
        texts = {choice: window.texts() for choice, window in due.items()}
        flat = [text for shown in texts.values() for text in shown]
        scores = iter(await self._judged(call, flat) if flat else [])
        out: list[Event] = []
        for choice, shown in texts.items():
            label = self._worst(call, [next(scores) for _ in shown])
            if label is not None:
                out.append(Refusal(self.name, errors.content_filter(), choice))
            else:
                out += due[choice].release()
        return out

    async def _judged(self, call: Call, texts: list[str]) -> list[dict[str, float]]:
        with call.timed(self.name):
            return await self._classifier.score(texts)

    def _worst(self, call: Call, scored: list[dict[str, float]]) -> str | None:
        """The label that reached its threshold, if any. Keeps the call's highest score of each label."""
        before = call.decisions.moderate or ModerateDecision()
        seen, stopped = dict(before.scores), None
        for scores in scored:
            for label, threshold in self._settings.thresholds.items():
                score = scores.get(label, 0.0)
                seen[label] = max(seen.get(label, 0.0), round(score, 4))
                if score >= threshold:
                    stopped = label
        call.decisions.moderate = ModerateDecision(seen, stopped or before.stopped)
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
