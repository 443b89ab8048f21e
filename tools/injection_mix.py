"""Rows to train the injection judge on: attacks by themselves and inside harmless texts of every length.

Lengths are drawn alike for both kinds, and every way of joining texts is used for harmless parts too, so that neither
length nor a seam tells an attack.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.injection_attacks import attack, fill
from tools.injection_benign import FAMILIES as BENIGN
from tools.injection_benign import SLOTS, benign

MOST = 450
TASKS = frozenset({"Alpaca"})  # sources of orders with an input
SECOND_TASKS = frozenset({"indirect"})
"""Kinds left out: a second task in a document, with no word of override, is what agents' own turns look like."""
AGENTS = "agents"
"""The kind of rows from coding projects, whose `path` says where: rules for agents, prompts, templates."""
ADDED, FRAMED = "added", "framed"
POISONED = 1 / 3
FRAMES = [
    template
    for family in ("agent_rules", "reminder", "tool_result")
    for template in BENIGN[family]
    if "{rules}" in template or "{output}" in template
]


@dataclass(frozen=True)
class Row:
    """attack: 0 or 1. family: what made it; the unit that is held out. kind: how it is carried."""

    text: str
    attack: int
    family: str
    kind: str


def labelled(file: Path, kind: str = "labelled") -> list[Row]:
    """The rows of a file with `text`, `attack` and `source`, which is the family. kind: of those without `path`."""
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [
        Row(row["text"], int(row["attack"]), row["source"], AGENTS if "path" in row else kind)
        for row in found
        if row["text"].strip() and not _left_out(row)
    ]


def _left_out(row: dict[str, Any]) -> bool:
    """Second tasks, and harmless documents in which an attack is quoted."""
    return row.get("kind", "").partition(" ")[0] in SECOND_TASKS or row.get("quotes_attack") == 1


def ordinary(files: Iterable[Path], seed: int) -> list[Row]:
    """Harmless rows from files made for other judges: MOST of each file and `kind`. Their family is the file's name."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    kinds = defaultdict(list)
    for file in files:
        for line in file.read_text(encoding="utf-8").split("\n"):  # other ends of lines stand inside texts
            row = json.loads(line or "{}")
            text = row.get("prompt") or row.get("text") or row.get("a") or ""
            if "attack" not in row and text.strip():
                kinds[" ".join(filter(None, [file.stem, row.get("kind")]))].append(text)
    return [
        Row(text, 0, kind, "labelled")
        for kind, texts in kinds.items()
        for text in rng.sample(texts, min(MOST, len(texts)))
    ]


def mixture(real: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`real`, and about `count` rows of our own making whose carriers are the harmless ones among `real`."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    harmless = [row.text for row in real if not row.attack]
    documents = [text for text in harmless if len(text) > 400]
    tasks = [row.text for row in real if row.family in TASKS and len(row.text) < 300]
    return [*real, *rows(count, harmless, documents, rng), *naive(count // 60, tasks, rng)]


def working(real: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` excerpts of the agents' rows in what an agent puts around them, some with an attack as a line.

    Their families are those of the excerpts, so that what is held out is held out in these too.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    sources = [row for row in real if row.kind == AGENTS]
    made = []
    for _ in range(count if sources else 0):
        source = rng.choice(sources)
        start = rng.randrange(len(source.text))
        lines = source.text[start : start + rng.randint(30, 700)].split("\n")
        if poison := rng.random() < POISONED:
            lines.insert(rng.randint(0, len(lines)), rng.choice(["- ", "", "# ", "* "]) + attack(rng)[1])
        text = "\n".join(lines)
        if rng.random() < 0.6:
            text = fill(rng.choice(FRAMES), rng, {**SLOTS, "rules": [escaped(text)], "output": [escaped(text)]})
        if text.strip():
            made.append(Row(text, int(poison), source.family, FRAMED))
    return made


def escaped(text: str) -> str:
    """A text as a template that stands for itself."""
    return text.replace("{", "{{").replace("}", "}}")


def wrap(carrier: str, part: str, rng: random.Random) -> str:
    """`part` somewhere in `carrier`: before, after, between two sentences, in a comment, a field, a quotation."""
    seam = rng.choice(["\n", "\n\n", " ", "\n\n\n", ". ", "\n---\n", "\n\t\n", "\n###\n", "\n\n\n\n\n"])
    way = rng.random()
    if way < 0.45:
        return f"{carrier}{seam}{part}"
    if way < 0.55:
        return f"{part}{seam}{carrier}"
    if way < 0.8:
        ends = [n + 1 for n, char in enumerate(carrier) if char in ".\n"] or [len(carrier)]
        at = rng.choice(ends)
        return f"{carrier[:at]}{rng.choice([' ', seam])}{part}{rng.choice([' ', seam])}{carrier[at:]}"
    return _framed(carrier, part, rng)


def _framed(carrier: str, part: str, rng: random.Random) -> str:
    head, tail = carrier[: len(carrier) // 2], carrier[len(carrier) // 2 :]
    return rng.choice(
        [
            f"<html><body><p>{head}</p><!-- {part} --><p>{tail}</p></body></html>",
            f'<p>{head}</p><span style="display:none">{part}</span><p>{tail}</p>',
            json.dumps({"results": [{"title": head[:60], "content": head}, {"content": f"{tail} {part}"}]}),
            json.dumps({"status": "ok", "body": carrier, "note": part}, ensure_ascii=False),
            f"Summarize the following e-mail.\n\nSubject: {head[:40]}\n\n{head}\n{part}\n{tail}\n\nBest regards",
            f"def main():\n    # {part}\n    return 1\n\n'''{carrier[:400]}'''",
            f"Review this code:\n```\n/* {part} */\nint main() {{ return 0; }}\n```\n{carrier[:300]}",
            f"Answer the question from the search results.\n[1] {head}\n[2] {part}\n[3] {tail}",
            f"Translate to French: {part}"
            if rng.random() < 0.2
            else f"| name | note |\n|---|---|\n| {head} | {part} |",
            f"Tool result: {carrier}\n{part}",
            f"{head}\n> {part}\n{tail}",
            f"User: {carrier}\nAssistant: Here you are.\nUser: {part}",
        ]
    )


def rows(count: int, harmless: Sequence[str], documents: Sequence[str], rng: random.Random) -> list[Row]:
    """`count` rows, half of them attacks. harmless: for attacks to stand in. documents: for harmless ones."""
    made = []
    for _ in range(count // 2):
        family, text = attack(rng)
        if rng.random() < 0.38:
            made.append(Row(_again(text, rng), 1, family, "alone"))
        else:  # half of them in documents, which alone would say `harmless` otherwise
            around = _carrier(documents if rng.random() < 0.5 else harmless, rng)
            made.append(Row(wrap(around, text, rng), 1, family, "carried"))
        family, text = benign(rng)
        if rng.random() < 0.4:
            made.append(Row(_again(text, rng), 0, family, "alone"))
        else:  # in a document: after an instruction with its input it would be what `naive` below is
            made.append(Row(wrap(_carrier(documents, rng), text, rng), 0, family, "carried"))
    return [row for row in made if row.text.strip()]


def naive(count: int, tasks: Sequence[str], rng: random.Random) -> list[Row]:
    """A task with its input, and a second task behind the input, with no word of override: the hardest to see."""
    given = [task for task in tasks if "\n" in task]
    if not given:
        return []
    return [
        Row(f"{rng.choice(given)}{rng.choice([' ', chr(10), '. ', '  '])}{rng.choice(tasks)}", 1, "naive", "carried")
        for _ in range(count)
    ]


def _prose(rng: random.Random) -> str:
    """Some paragraphs of our own documents."""
    return "\n\n".join(fill(rng.choice(SLOTS["passage"]), rng, SLOTS) for _ in range(rng.randint(1, 3)))


def _again(text: str, rng: random.Random) -> str:
    """The text, once in a while many times: repetition says nothing either."""
    return " ".join([text] * rng.randint(2, 8))[:900] if rng.random() < 0.06 else text


def _carrier(harmless: Sequence[str], rng: random.Random) -> str:
    text = rng.choice(harmless) if rng.random() < 0.6 else _prose(rng) if rng.random() < 0.5 else benign(rng)[1]
    most = int(60 * 2 ** rng.uniform(0, 4) if rng.random() < 0.5 else rng.uniform(60, 800))
    if len(text) > most:
        at = rng.randrange(len(text) - most)
        text = text[at : at + most]
    return text
