"""Measure the finder of personal data: spans of any type, typed spans, covered characters, false alarms.

Rows: `text`, `spans` of {entity_type, start_position, end_position}; arithmetic problems are the rows with `prompt` and
a `source` of gsm8k*; code is cut from Python's own library. A found span counts as right when it overlaps a labelled
one.
"""

from __future__ import annotations

import asyncio
import random
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.core.ports import Scrubber, Span
from app.runtime.prepare import prepare
from evals.data import Row
from evals.seen import Seen
from evals.table import Figure, Stopwatch, Table, bootstrapped, rate, rows

FLOORS = {"any type: recall": 0.85, "any type: precision": 0.85, "characters covered": 0.80, "typed F1": 0.75}
MODELS = ("bundled:en-core-web-sm", "bundled:names-minilm")
WEIGHTS = Path(__file__).parents[1] / "app" / "weights" / "names-minilm"
ALIASES = {
    "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION", "CITY": "LOCATION", "COUNTRY": "LOCATION",
    "STREET_ADDRESS": "ADDRESS", "street_name": "ADDRESS", "PREFIX": "TITLE", "ORG": "ORGANIZATION",
    "DOMAIN_NAME": "URL", "DATE": "DATE_TIME", "TIME": "DATE_TIME", "NORP": "NRP", "EMAIL": "EMAIL_ADDRESS",
    "PHONE": "PHONE_NUMBER", "IBAN": "IBAN_CODE", "SSN": "US_SSN", "ZIP": "ZIP_CODE",
}  # fmt: skip
CHECKED = ("CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS")
NAMES = frozenset({"PERSON", "LOCATION"})  # what may be found in a word problem: it has people and towns
MOST = {"rows": 4000, "sums": 1500, "code": 400}


@dataclass
class Marked:
    """One text's labelled and found spans: (start, end, type), the types in one vocabulary."""

    text: str
    wanted: list[tuple[int, int, str]]
    found: list[tuple[int, int, str]] = field(default_factory=list)


def measure(data: Path, *, short: bool) -> Table | None:
    """The table; None where no row is labelled. Rows that the tagger was trained on are left out of a full run."""
    labelled = list(rows(data / "personal.jsonl" if short and data.is_dir() else data, "text", "spans"))
    if not labelled:
        return None
    seen = Seen.load(WEIGHTS)
    kept = labelled if short else [row for row in labelled if row["text"] not in seen]
    left_out = len(labelled) - len(kept)
    if not kept:  # all trained on: measured all the same, and said
        kept = labelled
    prepare(MODELS)
    scrubber = _scrubber()
    watch = Stopwatch()
    marked = found(scrubber, kept[: MOST["rows"]], watch)
    figures = [*told(marked), *_false_alarms(scrubber, data, seen, short=short)]
    said = f"{len(marked)} labelled texts" + (
        "; all of them were trained on" if left_out == len(labelled) else f"; {left_out} trained on were left out"
    )
    about = f"{said}. Found and labelled spans match when they overlap; intervals by template. Types: {_aliases()}."
    prompt = "My name is Ann Lee and I live at 12 Main Street, Springfield. " * 4
    pace = Stopwatch()
    for _ in range(20 if short else 100):
        with pace:
            scan(scrubber, prompt[:240])
    latency = [watch.latency("one of these texts, one thread"), pace.latency("a text of 64 tokens, one thread")]
    return Table("personal", "Personal data", about, figures, {"threshold": 0.5}, latency)


def found(scrubber: Scrubber, labelled: Sequence[Row], watch: Stopwatch | None = None) -> list[Marked]:
    """What the scrubber finds in each labelled row, beside what is labelled."""
    marked = [_marked(row) for row in labelled]
    merge_zips(marked)
    for one in marked:
        with watch or Stopwatch():
            one.found = [(s.start, s.end, ALIASES.get(s.type, s.type)) for s in scan(scrubber, one.text)]
    merge_zips(marked, found=True)
    return marked


def told(marked: Sequence[Marked]) -> list[Figure]:
    """The figures of these texts, in all and by type."""
    return [*_overall(marked), *_types(marked)]


def _scrubber() -> Scrubber:
    from app.privacy.presidio.scrubber import PresidioScrubber

    return PresidioScrubber()


def scan(scrubber: Scrubber, text: str) -> list[Span]:
    """One text's spans."""
    return asyncio.run(scrubber.scan([text]))[0]


def _marked(row: dict[str, Any]) -> Marked:
    wanted = [
        (span["start_position"], span["end_position"], ALIASES.get(span["entity_type"], span["entity_type"]))
        for span in row["spans"]
    ]
    return Marked(row["text"], sorted(wanted))


def merge_zips(marked: Sequence[Marked], *, found: bool = False) -> None:
    """Where the labels know no post codes they call them addresses: then so do the found."""
    if any(kind == "ZIP_CODE" for one in marked for _, _, kind in one.wanted):
        return
    for one in marked if found else ():
        one.found = [(start, end, "ADDRESS" if kind == "ZIP_CODE" else kind) for start, end, kind in one.found]


def template(one: Marked) -> str:
    """What is left of a text without its labelled spans."""
    left, at = "", 0
    for start, end, _ in one.wanted:
        left += one.text[at:start]
        at = end
    return " ".join(re.findall(r"[a-z]+", (left + one.text[at:]).lower()))


def _hits(of: Sequence[tuple[int, int, str]], by: Sequence[tuple[int, int, str]], *, typed: bool) -> list[bool]:
    return [
        any(a < end and start < b and (not typed or kind == other) for a, b, other in by) for start, end, kind in of
    ]


def _overall(marked: Sequence[Marked]) -> list[Figure]:
    """Recall, precision, F1 of any type and by type, and the share of the labelled characters that is covered."""
    counts = np.array([_counts(one) for one in marked], float)
    groups = [template(one) for one in marked]

    def figure(name: str, goal: float | None, value: Any) -> Figure:
        return bootstrapped(name, lambda rows: value(counts[rows].sum(0)), len(marked), goal=goal, groups=groups)

    def f1(c: Any, right: int, correct: int) -> float:
        recall, precision = c[right] / max(c[0], 1), c[correct] / max(c[1], 1)
        return float(2 * recall * precision / max(recall + precision, 1e-9))

    return [
        figure("any type: recall", 0.90, lambda c: c[2] / max(c[0], 1)),
        figure("any type: precision", 0.90, lambda c: c[3] / max(c[1], 1)),
        figure("characters covered", 0.85, lambda c: c[7] / max(c[6], 1)),
        figure("typed F1", 0.80, lambda c: f1(c, 4, 5)),
    ]


def _counts(one: Marked) -> list[int]:
    """Labelled, found, labelled hit, found right, the same two typed, labelled characters, covered characters."""
    sensitive = {i for start, end, _ in one.wanted for i in range(start, end) if not one.text[i].isspace()}
    covered = sensitive & {i for start, end, _ in one.found for i in range(start, end)}
    hits = [
        sum(_hits(of, by, typed=typed))
        for typed in (False, True)
        for of, by in ((one.wanted, one.found), (one.found, one.wanted))
    ]
    return [len(one.wanted), len(one.found), *hits, len(sensitive), len(covered)]


def _types(marked: Sequence[Marked]) -> list[Figure]:
    """Of each labelled type recall and precision, as that type."""
    figures = []
    for kind in sorted({kind for one in marked for _, _, kind in one.wanted}):
        recalled, precise = [], []
        for one in marked:
            wanted, found = ([s for s in spans if s[2] == kind] for spans in (one.wanted, one.found))
            recalled += _hits(wanted, one.found, typed=True)
            precise += _hits(found, one.wanted, typed=True)
        goal = 0.99 if kind in CHECKED else None
        figures.append(rate(f"{kind}: recall", recalled, goal=goal))
        figures.append(rate(f"{kind}: precision", precise, goal=goal))
    return figures


def _false_alarms(scrubber: Scrubber, data: Path, seen: Seen, *, short: bool) -> list[Figure]:
    """The share of word problems and of pieces of code in which nothing is found but people and places."""
    sums = (row["prompt"] for row in rows(data, "prompt", "source") if row["source"].startswith("gsm8k"))
    problems = [] if short else [prompt for prompt in sums if prompt not in seen]
    texts = {"word problems": problems[: MOST["sums"]], "code": code(30 if short else MOST["code"])}
    figures = []
    for name, some in texts.items():
        if some:
            clean = [all(span.type in NAMES for span in scan(scrubber, text)) for text in some]
            figures.append(rate(f"{name} without a false alarm", clean, goal=0.97))
    return figures


def code(count: int) -> list[str]:
    """Pieces of 3 to 20 lines of Python's own library, the same in every run on one version."""
    rng = random.Random(3)  # noqa: S311 - no secret
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    found: list[str] = []
    while len(found) < count:
        lines = rng.choice(files).read_text(encoding="utf-8", errors="replace").splitlines()
        at = rng.randrange(max(1, len(lines) - 20))
        piece = "\n".join(lines[at : at + rng.randrange(3, 20)])
        if piece.strip():
            found.append(piece)
    return found


def _aliases() -> str:
    return ", ".join(f"{theirs} is {ours}" for theirs, ours in ALIASES.items())
