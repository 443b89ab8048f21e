"""Find personal data in texts with Presidio and a spaCy model.  Port Scrubber.

scrub -> [PresidioScrubber] -> Spans. Reads texts; gives sorted, non-overlapping Spans. Never reaches the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.adapters.lean import without
from app.adapters.threads import Worker
from app.models import resolve
from app.ports import Span

DEFAULT_TYPES = (
    "PERSON",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "US_SSN",
    "LOCATION",
    "CRYPTO",
)  # off: DATE_TIME, US_BANK_NUMBER, US_DRIVER_LICENSE, for which any bare number will do; URL, seldom personal
PIECE = 20_000  # characters analysed in one turn of the worker: a very long text lets others in between
OVERLAP = 200  # characters two pieces share, so that what stands on a cut is whole in one of them
CERTAIN = 0.95  # scores that only a checksum or a public suffix gives
EDGES = " \t\r\n.,;:!?\"'`*_~<>|/\\-" + "\u2013\u2014\u2018\u2019\u201c\u201d\u00ab\u00bb"  # dashes and quotes
PAIRS = {"(": ")", "[": "]", "{": "}"}


class PresidioScrubber:
    """A Presidio AnalyzerEngine over a spaCy pipeline cut down to its named-entity recogniser.

    model: a source (`bundled:`, `path:`) of a spaCy pipeline in `language`. types: which kinds to find, by
    Presidio's names; None is DEFAULT_TYPES. threshold: least score, 0..1. allow: texts that are never personal,
    in any case. Raises ValueError for a type that nothing finds.
    """

    def __init__(
        self,
        model: str = "bundled:en-core-web-sm",
        language: str = "en",
        types: Sequence[str] | None = None,
        threshold: float = 0.5,
        allow: Sequence[str] = (),
    ) -> None:
        # Presidio's transformers engine and spaCy's torch layers: neither is in the pipeline, and both cost seconds.
        with without("transformers", "torch"):
            from app.adapters.presidio_engine import build

        self.language = language
        self.types = list(DEFAULT_TYPES if types is None else types)
        self.threshold = threshold
        self.allow = frozenset(text.casefold() for text in allow)
        self._engine: Any = build(resolve(model), language)
        known = set(self._engine.get_supported_entities(language))
        for kind in self.types:
            if kind not in known:
                msg = f"types: `{kind}` is not known: choose from {', '.join(sorted(known))}"
                raise ValueError(msg)
        self._worker = Worker("presidio", threads=None)
        self._worker.wait(self._scan, "Ann Smith called +1 212 555 0100.")  # what is built at first use is built now

    async def scan(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return each text's spans, sorted by start, never overlapping, without surrounding punctuation."""
        found = []
        for text in texts:
            spans: list[Span] = []
            for start, piece in pieces(text):
                here = await self._worker.run(self._scan, piece)
                spans += [Span(s.start + start, s.end + start, s.type, s.score) for s in here]
            whole = resolve_overlaps(text, spans)
            found.append([s for s in whole if text[s.start : s.end].casefold() not in self.allow])
        return found

    def _scan(self, text: str) -> list[Span]:
        """What Presidio says, as it says it."""
        if not text.strip() or not self.types:  # Presidio takes no types for all types
            return []
        results = self._engine.analyze(text, self.language, entities=self.types, score_threshold=self.threshold)
        return [Span(r.start, r.end, r.entity_type, float(r.score)) for r in results]


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Cut a long text into overlapping pieces of at most PIECE characters, at spaces where there are any."""
    start = 0
    while start + PIECE < len(text):
        end = start + PIECE
        end = max(text.rfind(" ", start + 2 * OVERLAP, end), text.rfind("\n", start + 2 * OVERLAP, end)) + 1 or end
        yield start, text[start:end]
        start = end - OVERLAP
    yield start, text[start:]


def resolve_overlaps(text: str, spans: Iterable[Span]) -> list[Span]:
    """Trim spans and let the better of two that overlap win, sorted by start.

    What a checksum vouches for wins, then the longer, then the higher score. Of the one that loses, what the
    winner leaves uncovered stays: no character that was found may go out because a neighbour won.
    """
    taken: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.score < CERTAIN, s.start - s.end, -s.score, s.start, s.type)):
        for rest in _uncovered(span, taken):
            trimmed = _trim(text, rest)
            # a scrap beside a winner is kept only if it says something
            if trimmed and any(c.isalnum() for c in text[trimmed.start : trimmed.end]):
                taken.append(trimmed)
    return sorted(taken, key=lambda s: s.start)


def _uncovered(span: Span, taken: Iterable[Span]) -> Iterator[Span]:
    start = span.start
    for other in sorted((o for o in taken if o.start < span.end and span.start < o.end), key=lambda o: o.start):
        if start < other.start:
            yield Span(start, other.start, span.type, span.score)
        start = max(start, other.end)
    if start < span.end:
        yield Span(start, span.end, span.type, span.score)


def _trim(text: str, span: Span) -> Span | None:
    """Without white space and punctuation around it. A bracket stays if its partner is inside."""
    start, end = span.start, span.end
    while start < end:
        first, last, inside = text[start], text[end - 1], text[start:end]
        if first in EDGES or first in PAIRS.values() or (first in PAIRS and PAIRS[first] not in inside):
            start += 1
        elif last in EDGES or last in PAIRS or any(last == b and a not in inside for a, b in PAIRS.items()):
            end -= 1
        elif span.type == "PERSON" and inside[-2:] in ("'s", "\u2019s"):
            end -= 2
        else:
            return Span(start, end, span.type, span.score)
    return None
