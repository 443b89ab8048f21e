"""Read of a prompt's shape what its vector does not tell: what form it has, how long it is, what it asks for.

route -> complexity.LinearComplexity -> [shape] -> 70 numbers. One pass of plain string work, bounded by READ.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

READ = 3000  # characters: with them a score stays under a millisecond
FORMS = ("exam", "sum", "open")
"""A question with options to choose from; a word problem to be calculated; anything else."""
NUMERIC = 7  # where `_options` has the share of numbers
OPTIONS = 6  # read of an exam question, the first 300 characters of each

# `[ \t]*`, never `\s*`: over thousands of empty lines that would take quadratic time, on the gateway's event loop.
OPTION = re.compile(r"^[ \t]*\(?([A-J])[.):]", re.MULTILINE)
WORD = re.compile("[a-z]+")
NUMBER = re.compile(r"\d[\d.,]*")
SENTENCE = re.compile(r"[.?!](?:\s|$)")
NAME = re.compile("(?<=[a-z,;] )[A-Z][a-z]+")
CODE = re.compile(
    r"```|^[ \t]*(?:def|class|import|from|#include|public|function|SELECT|struct)\b|[;{}][ \t]*$|=>|->|==", re.MULTILINE
)
STEP = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])\s", re.MULTILINE)
LOUDLY = ("NOT", "EXCEPT", "LEAST", "FALSE", "INCORRECT")
LOUD = re.compile(rf"\b(?:{'|'.join(LOUDLY)})\b")
STATEMENT = re.compile(r"[Ss]tatement ?(?:\d|I)|[Ss]cenario ?\d|\bI{1,3}\.")
STATED = ("tatement", "cenario", "I.")  # one of them is in whatever STATEMENT finds
COMBINED = re.compile(
    r"\b(?:I|II|III|IV|[1-4])\b(?: and|,| only)|\b(?:true|false|wrong|correct|yes|no),", re.IGNORECASE
)
SYMBOLS = frozenset("=^√∑∫≤≥π∀∃⊃≡\N{LOGICAL OR}∧·→λμσθ\\<>*/+|{}[]_")
MATHS = frozenset("\\^∫∑√≤≥π")
MONEY = frozenset("$%€£")

KINDS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "negation": "not except least false incorrect never cannot untrue",
        "choice words": "true false correct incorrect wrong both neither only none all",
        "conditions": "would will should could might likely if suppose assume",
        "people": "he she his her him they their man woman boy girl plaintiff defendant buyer seller patient",
        "reasons": "because therefore since due cause unless although however whether provided",
        "comparisons": (
            "more less greater smaller larger higher lower increase increases decrease decreases faster twice half "
            "times than each every per same double third quarter"
        ),
        "superlatives": "most best primarily primary mainly main likely greatest strongest",
        "maths": "prove theorem lemma integral matrix polynomial derivative modulo",
        "demands": "must should exactly least most without ensure each every only not include require required step",
        "making": "write implement design create develop build code program script refactor debug optimize optimise",
        "asking why": "why how explain compare analyze analyse evaluate derive calculate compute solve",
    }.items()
}
COMMON = frozenset(
    WORD.findall(
        "the of to and in a is that for on with as by was at from be are an or it this which his he has had not were "
        "their but have its she they her who been one all will would more when can there if any than into may also "
        "such no these other"
    )
)
AMOUNTS = frozenset(
    WORD.findall("two three four five six seven eight nine ten twice half dozen third quarter double triple")
)
ASKED = re.compile(
    r"\bhow (?:many|much|long|far|old|fast|tall)\b|\bhow \w+er\b|\bcalculate\b|\bfind (?:the|his|her|how)\b"
    r"|\bwhat(?:'s| is| was| will be| would be| percent\w*| fraction| number)\b[^.?]{0,50}\b(?:total|percent\w*|number"
    r"|cost|price|average|difference|sum|ratio|amount|age|profit|value|speed|length|perimeter|area|weight|height|distance)"
)
ASKING = ("how ", "calculate", "find ", "what")  # one of them is in whatever ASKED finds

NAMES = (
    *("length: asked", "length: all", "length: sentences", "length: words a sentence", "length: lines"),
    *("options: length", "options: longest", "options: spread", "options: alike", "options: most alike"),
    *("options: words of the question", "options: different words", "options: numbers", "options: one word"),
    *("options: capital", "options: sentence", "options: commas", "options: choice words", "options: negation"),
    *("options: all or none", "options: reasons", "options: combined", "options: yes or no", "options: and"),
    *("numbers: all", "numbers: different", "numbers: digits", "numbers: symbols", "numbers: money", "numbers: asked"),
    *("statements: count", "statements: negation", "statements: loud negation", "statements: choice words"),
    *("ending: question", "ending: open", "ending: colon", "ending: blank", "ending: questions", "ending: which"),
    *("words: length", "words: long ones", "words: different", "words: common", "words: not ASCII", "words: names"),
    *(f"content: {kind}" for kind in KINDS if kind not in {"negation", "choice words"}),
    *("content: quotes", "content: passage", "content: code", "content: steps", "content: math symbols"),
    *(f"asked: {word}" for word in ("who", "what", "why", "how", "when")),
    *("length: squared", "calculation: length", "calculation: numbers"),
    *("calculation: comparisons", "calculation: symbols"),
)
"""What each of the numbers is, `group: name`; `explain` sums by group."""


def form(text: str) -> str:
    """Which of FORMS the text has."""
    read = text[:READ]
    return _form(read, _parts(read)[1])


def shape(text: str) -> tuple[str, NDArray[np.float32]]:
    """The form, and float32 (len(NAMES),): each number about 0..10."""
    read = text[:READ]
    asked, options = _parts(read)
    low = asked.lower()
    words = WORD.findall(low)
    counts = Counter(words)
    numbers = NUMBER.findall(asked)
    hits = {kind: _log(sum(map(counts.__getitem__, group))) for kind, group in KINDS.items()}
    compared = hits["comparisons"]
    size, n = max(len(asked), 1), max(len(words), 1)
    sentences = max(len(SENTENCE.findall(asked)), 1)
    end, last = asked.rstrip()[-1:], asked[-200:].lower()
    choice = _options(options, frozenset(words) - COMMON)
    found = [
        _log(len(asked)),
        _log(len(text)),
        math.log(sentences),
        _log(n / sentences),
        _log(asked.count("\n")),
        *choice,
        _log(len(numbers)),
        _log(len(set(numbers))),
        10 * sum(map(len, numbers)) / size,
        _log(_count(read, SYMBOLS)),
        _log(_count(asked, MONEY)),
        float(_asks(low)),
        _log(len(STATEMENT.findall(asked)) if _has(asked, STATED) else 0),
        hits.pop("negation"),
        float(_has(asked, LOUDLY) and LOUD.search(asked) is not None),
        hits.pop("choice words"),
        float(end == "?"),
        float(end.isalpha()),
        float(end == ":"),
        float("__" in asked),
        _log(asked.count("?")),
        float("which of the following" in low),
        sum(map(len, words)) / n,
        3 * sum(len(word) > 9 for word in words) / n,
        len(counts) / n,
        3 * sum(map(counts.__getitem__, COMMON)) / n,
        1 - len(read.encode("ascii", "ignore")) / max(len(read), 1),
        _log(len(NAME.findall(asked))),
        *hits.values(),
        _log(asked.count('"') + asked.count("“")),
        float("refers to" in asked or "following passage" in asked or "following information" in asked),
        _log(len(CODE.findall(read))),
        _log(len(STEP.findall(read))),
        _log(_count(read, MATHS)),
        *(float(word in last) for word in ("who", "what", "why", "how", "when")),
        math.log10(1 + len(text)) ** 2 / 5,
        # Where numbers are to choose from, what makes a question hard is another thing than where words are.
        choice[NUMERIC] * _log(len(asked)),
        choice[NUMERIC] * _log(len(numbers)),
        choice[NUMERIC] * compared,
        choice[NUMERIC] * _log(_count(read, SYMBOLS)),
    ]
    return _form(read, options), np.array(found, np.float32)


def _parts(read: str) -> tuple[str, list[str]]:
    """The question and its options; without options, the text and none."""
    marks: list[re.Match[str]] = []
    for mark in OPTION.finditer(read):
        if mark[1] == "ABCDEFGHIJ"[len(marks) : len(marks) + 1]:
            marks.append(mark)
    if len(marks) < 2:
        return read, []
    end = read.rfind("Answer:", marks[-1].end())
    edges = [*(mark.start() for mark in marks[1:]), len(read) if end < 0 else end]
    options = [read[mark.end() : edge].strip()[:300] for mark, edge in zip(marks, edges, strict=True)]
    return read[: marks[0].start()], options[:OPTIONS]


def _form(read: str, options: list[str]) -> str:
    if options:
        return "exam"
    low = read[:1200].lower()
    if len(read) > len(low) or not _asks(low) or CODE.search(read):
        return "open"
    amounts = len(NUMBER.findall(low)) + sum(word in AMOUNTS for word in WORD.findall(low))
    return "sum" if amounts > 1 else "open"


def _options(options: list[str], asked: frozenset[str]) -> list[float]:
    """What tells how hard a choice is: options alike, numbers, whole sentences, statements combined. 19 numbers."""
    if not options:
        return [0.0] * 19
    words = [WORD.findall(option.lower()) for option in options]
    sets = [frozenset(row) for row in words]
    alike = [len(a & b) / max(len(a | b), 1) for a, b in combinations(sets, 2)]
    lengths = [_log(len(option)) for option in options]
    mean, n = sum(lengths) / len(options), len(options)
    every = [word for row in words for word in row]
    counts = Counter(every)
    middle = sum(map(len, options)) / n
    return [
        _log(middle),
        max(lengths),
        math.sqrt(sum((length - mean) ** 2 for length in lengths) / n),
        sum(alike) / len(alike),
        max(alike),
        sum(len(group & asked) / max(len(group), 1) for group in sets) / n,
        len(counts) / max(len(every), 1),
        sum(NUMBER.search(o) is not None and len(row) < 4 for o, row in zip(options, words, strict=True)) / n,
        sum(len(group) == 1 for group in sets) / n,
        sum(option[:1].isupper() for option in options) / n,
        sum(option.endswith(".") for option in options) / n,
        sum(min(option.count(","), 3) for option in options) / n,
        _log(sum(map(counts.__getitem__, KINDS["choice words"]))),
        _log(sum(map(counts.__getitem__, KINDS["negation"]))),
        float(any(row[:1] != [] and row[0] in {"all", "none", "both", "neither"} for row in words)),
        _log(sum(map(counts.__getitem__, KINDS["reasons"]))),
        sum(COMBINED.search(option) is not None for option in options) / n,
        sum(row[:1] != [] and row[0] in {"yes", "no", "true", "false"} for row in words) / n,
        sum("and" in group for group in sets) / n,
    ]


def _asks(low: str) -> bool:
    """Whether a text in small letters asks for a number."""
    return _has(low, ASKING) and ASKED.search(low) is not None


def _has(text: str, parts: tuple[str, ...]) -> bool:
    """Whether any of them stands in the text: a hundred times cheaper than a pattern that finds none."""
    return any(part in text for part in parts)


def _count(text: str, signs: frozenset[str]) -> int:
    return sum(map(text.count, signs))


def _log(n: float) -> float:
    return math.log1p(n)
