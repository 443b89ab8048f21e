"""Find personal data in texts with Presidio, patterns of our own and a small tagger.  Port Scrubber.

scrub -> [PresidioScrubber] -> Spans. Reads texts; gives sorted, non-overlapping Spans. Never reaches the network.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.ports import Span
from app.models.catalog import resolve
from app.models.errors import ModelError
from app.models.lazy_imports import without
from app.models.threads import Worker
from app.privacy.presidio.false_positives import QUANTITIES, is_sum
from app.privacy.presidio.normalize import plain

if TYPE_CHECKING:
    from app.privacy.presidio.ner import Tagger

DEFAULT_TYPES = (
    "PERSON",
    "LOCATION",
    "ADDRESS",
    "ZIP_CODE",
    "ORGANIZATION",
    "PHONE_NUMBER",
    "EMAIL_ADDRESS",
    "URL",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "DATE_TIME",
    "AGE",
    "TITLE",
    "NRP",
    "CREDIT_CARD",
    "IBAN_CODE",
    "CRYPTO",
    "SECRET",
    "US_SSN",
    "US_ITIN",
    "US_DRIVER_LICENSE",
    "US_PASSPORT",
    "US_BANK_NUMBER",
    "MEDICAL_LICENSE",
    "UK_NHS",
    "UK_NINO",
    "ES_NIF",
    "ES_NIE",
    "IT_FISCAL_CODE",
    "PL_PESEL",
    "FI_PERSONAL_IDENTITY_CODE",
    "DE_TAX_ID",
    "IN_PAN",
    "IN_AADHAAR",
    "AU_TFN",
    "AU_ABN",
    "AU_ACN",
    "AU_MEDICARE",
    "SG_NRIC_FIN",
    "CA_SIN",
    "TR_NATIONAL_ID",
    "TH_TNIN",
    "KR_RRN",
    "SE_PERSONNUMMER",
    "ZA_ID_NUMBER",
)  # every kind worth finding in English; what a stage hides of them is its own `types`
PIECE = 20_000  # characters analysed in one turn of the worker: a very long text lets others in between
OVERLAP = 200  # characters two pieces share, so that what stands on a cut is whole in one of them
CERTAIN = 0.95  # scores that only a checksum or a public suffix gives
EDGES = " \t\r\n.,;:!?\"'`*_~<>|/\\-" + "\u2013\u2014\u2018\u2019\u201c\u201d\u00ab\u00bb"  # dashes and quotes
PAIRS = {"(": ")", "[": "]", "{": "}"}


class PresidioScrubber:
    """A Presidio AnalyzerEngine: patterns, checksums, and for names a tagger of our own (English) or spaCy's.

    model: a source (`bundled:`, `path:`, or `package:NAME`, an installed one) of a spaCy pipeline in `language`. names:
    the source of the tagger over MiniLM; it reads English only, and takes the place of spaCy's names there; None or
    another language: spaCy's. types: which kinds to find; None is all of DEFAULT_TYPES that are known in the language.
    threshold: least score, 0..1. allow: texts that are never personal, in any case. Raises ValueError for a type that
    nothing finds, ModelError for a model that is missing or of another language.
    """

    def __init__(
        self,
        model: str = "bundled:en-core-web-sm",
        language: str = "en",
        types: Sequence[str] | None = None,
        threshold: float = 0.5,
        allow: Sequence[str] = (),
        *,
        names: str | None = "bundled:names-minilm",
    ) -> None:
        tagger = _tagger(names) if names and language == "en" else None
        folder = None if tagger else pipeline(model, language)
        # Presidio's transformers engine and spaCy's torch layers: neither is in the pipeline, and both cost seconds.
        with without("transformers", "torch"):
            from app.privacy.presidio.engine import build

        self.language = language
        self.threshold = threshold
        self.allow = frozenset(text.casefold() for text in allow)
        self._engine: Any = build(folder, language, tagger)
        known = set(self._engine.get_supported_entities(language))
        self.types = [kind for kind in DEFAULT_TYPES if kind in known] if types is None else list(types)
        for kind in self.types:
            if kind not in known:
                msg = f"types: `{kind}` is not known: choose from {', '.join(sorted(known))}"
                raise ValueError(msg)
        self._worker = Worker("presidio", threads=None)
        self._worker.wait(self._scan, "Ann Smith called +1 212 555 0100.")  # what is built at first use is built now

    async def scan(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return each text's spans, sorted by start, never overlapping, without surrounding punctuation.

        Patterns read the text without what hides data from them (zero-width signs, fullwidth digits, look-alike
        letters); spans are in the text as it was given.
        """
        return [await self._scanned(text) for text in texts]

    async def _scanned(self, given: str) -> list[Span]:
        seen = plain(given)
        text = seen.text
        spans: list[Span] = []
        for start, piece in pieces(text):
            here = await self._worker.run(self._scan, piece)
            spans += [Span(s.start + start, s.end + start, s.type, s.score) for s in here]
        if any(s.type in QUANTITIES for s in spans) and is_sum(text):
            spans = [s for s in spans if s.type not in QUANTITIES]
        kept = [s for s in resolve_overlaps(text, spans) if text[s.start : s.end].casefold() not in self.allow]
        return [Span(*seen.original(s.start, s.end), s.type, s.score) for s in kept]

    def _scan(self, text: str) -> list[Span]:
        """What Presidio says, as it says it."""
        if not text.strip() or not self.types:  # Presidio takes no types for all types
            return []
        results = self._engine.analyze(text, self.language, entities=self.types, score_threshold=self.threshold)
        return [Span(r.start, r.end, r.entity_type, float(r.score)) for r in results]


def pipeline(model: str, language: str) -> str:
    """The folder of a spaCy pipeline. Raises ModelError: missing, no pipeline, or of another language."""
    name = model.removeprefix("package:")
    if name != model:
        spec = find_spec(name) if name.isidentifier() else None
        roots = list(spec.submodule_search_locations or ()) if spec else []
        found = [str(path.parent) for root in roots for path in sorted(Path(root).glob("*/config.cfg"))]
        if not found:
            message = f"spaCy pipeline `{name}` is not installed: install that package, or name a folder as path:FOLDER"
            raise ModelError(message)
        folder = found[-1]
    else:
        folder = resolve(model)
    about = Path(folder) / "meta.json"
    if not about.is_file():
        message = f"`{model}` is no spaCy pipeline: {about} is missing: name the folder that holds it"
        raise ModelError(message)
    speaks = json.loads(about.read_text(encoding="utf-8")).get("lang")
    if speaks != language:
        message = (
            f"language `{language}` needs a spaCy pipeline of its own and `{model}` is one for `{speaks}`: install "
            f"one, such as {language}_core_news_sm, and set `model: package:{language}_core_news_sm` or "
            f"`model: path:FOLDER`"
        )
        raise ModelError(message)
    return folder


def _tagger(names: str) -> Tagger:
    from app.models.minilm import MiniLM
    from app.privacy.presidio.ner import Tagger

    return Tagger(MiniLM(names))


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
    taken: list[Span] = []  # sorted by start, never overlapping
    for span in sorted(spans, key=lambda s: (s.score < CERTAIN, s.start - s.end, -s.score, s.start, s.type)):
        for rest in _uncovered(span, taken):
            trimmed = _trim(text, rest)
            # a scrap beside a winner is kept only if it says something
            if trimmed and any(c.isalnum() for c in text[trimmed.start : trimmed.end]):
                insort(taken, trimmed, key=lambda s: s.start)
    return taken


def _uncovered(span: Span, taken: list[Span]) -> list[Span]:
    found, start = [], span.start
    at = max(0, bisect_left(taken, span.start, key=lambda s: s.start) - 1)
    while at < len(taken) and taken[at].start < span.end:
        if start < taken[at].start:
            found.append(Span(start, taken[at].start, span.type, span.score))
        start = max(start, taken[at].end)
        at += 1
    if start < span.end:
        found.append(Span(start, span.end, span.type, span.score))
    return found


def _trim(text: str, span: Span) -> Span | None:
    """Without white space and punctuation around it. A bracket stays if its partner is inside."""
    start, end = span.start, span.end
    if span.type == "SECRET":  # every sign of it counts
        return span if text[start:end].strip() else None
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
