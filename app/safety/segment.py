"""Read a text word by word where nothing that a judge's tokenizer knows parts its words.  texts -> [segment] -> judges.

A WordPiece tokenizer takes what stands between two blanks for one word. With an emoji or an invisible sign in it, or
with more than 100 characters, that word is unknown to it, and a judge reads nothing there; models that answer do. So
here every sign that is no letter, digit or common mark is a blank, as a tag is, letters that stand apart are a word,
`CamelCase` is two, and what is run together is cut where the judge's own words end. Pure, linear in the text's length.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

LONG = 24
"""A run of more letters is hardly a word."""
CUT = 40
"""No word is longer than this, in any script."""
BUDGET = 20_000
"""Characters of one text that are cut by words; what is beyond is cut by length."""
UNREADABLE = "unreadable"
"""The label of what a judge could not read: the share of its letters, 0..1."""
FEW_LETTERS = 12
FEW = 8
"""Lines of a text that is read whole, when anything of it reads otherwise."""
_LONGEST_WORD = 18
_UNKNOWN = 14.0
"""What a letter that is in no word costs: more than any word does."""
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_SELECTORS = re.compile("[\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_CATEGORIES = "Lu Ll Lt Lm Lo Nd Nl No Pc Pd Ps Pe Pi Pf Po Zs Zl Zp Mn Mc Sc"
_READ = frozenset(_CATEGORIES.split())
_TAGS = re.compile(r"(?<=[^\s>])(?:</?[A-Za-z][^<>]{0,100}>)+(?=[^\s<])")
_SPACED = re.compile(r"(?<!\w)[^\W\d_](?:[\W_]{1,3}[^\W\d_](?!\w)){4,}")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CAMEL = re.compile(r"\b[A-Za-z]*(?:[a-z][A-Z][A-Za-z]*){3,}\b")
_RUN = re.compile(r"[^\W\d_]{25,}")
_NO_END = re.compile(r"[^\s!-/:-@\[-`{-~]{41,}")


class _Signs(dict[int, str]):
    """For str.translate: what is no letter, digit or common mark is a blank. Learns each character once."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        read = char.isascii() or unicodedata.category(char) in _READ
        blank = char in _FILLERS or _SELECTORS.match(char) or not read or (char.isascii() and ord(char) in _CONTROLS)
        self[code] = found = " " if blank else char
        return found


_CONTROLS = frozenset({*range(9), 11, 12, *range(14, 32), 127})
_SIGNS = _Signs()


class Segmenter:
    """vocabulary: the judge's tokenizer's, token -> id. Frequent words have low ids, as in BERT's."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        words = {word: at for word, at in vocabulary.items() if word.isalpha() and word.isascii() and word.islower()}
        ranks = {word: rank for rank, word in enumerate(sorted(words, key=words.__getitem__))}
        # By Zipf's law a word's chance falls with its rank; single letters other than these are no words.
        self._costs = {word: math.log(rank + 10) + 2 for word, rank in ranks.items() if len(word) > 1 or word in "ai"}

    def __call__(self, text: str) -> str:
        """The text so read; the same text where there is nothing to part."""
        found = _TAGS.sub(" ", text.translate(_SIGNS))
        found = _SPACED.sub(lambda match: _joined(match[0]), found)
        found = _CAMEL.sub(lambda match: _HUMPS.sub(" ", match[0]), found)
        if _RUN.search(found):
            found = "".join(self._runs(found))
        return _NO_END.sub(lambda match: _cut(match[0]), found)

    def changed(self, text: str) -> str:
        """The lines that read otherwise so, each between its neighbours as they stand; empty where none does."""
        lines = text.splitlines()
        if len(lines) < FEW:
            read = self(text)
            return "" if read.split() == text.split() else read
        read_lines = [self(line) for line in lines]
        other = [one.split() != was.split() for one, was in zip(read_lines, lines, strict=True)]
        near = [any(other[max(0, at - 1) : at + 2]) for at in range(len(lines))]
        return "\n".join(line for line, kept in zip(read_lines, near, strict=True) if kept)

    def _runs(self, text: str) -> Iterator[str]:
        """The text with long runs of letters cut where words end."""
        end, left = 0, BUDGET
        for run in _RUN.finditer(text):
            yield text[end : run.start()]
            word, end = run[0], run.end()
            left -= len(word)
            yield self._words(word) if left >= 0 and word.isascii() else _cut(word)
        yield text[end:]

    def _words(self, run: str) -> str:
        """The likeliest words that the run is made of."""
        lower = run.lower()
        costs, cuts = [0.0], [0]
        for end in range(1, len(run) + 1):
            best, cut = costs[end - 1] + _UNKNOWN, end - 1
            for start in range(max(0, end - _LONGEST_WORD), end):
                cost = self._costs.get(lower[start:end])
                if cost is not None and costs[start] + cost < best:
                    best, cut = costs[start] + cost, start
            costs.append(best)
            cuts.append(cut)
        words, end = [], len(run)
        while end:
            words.append(run[cuts[end] : end])
            end = cuts[end]
        return " ".join(_unknown_joined(words[::-1]))


def unreadable(text: str, unknown: Iterable[tuple[int, int]]) -> float:
    """The share of the text's letters, 0..1, that stand in tokens unknown to a judge: it has not read them.

    unknown: [start, end) of each such token. 0 for a text of few letters.
    """
    letters = sum(map(str.isalpha, text))
    if letters < FEW_LETTERS:
        return 0.0
    return min(1.0, sum(sum(map(str.isalpha, text[start:end])) for start, end in unknown) / letters)


def _joined(spaced: str) -> str:
    """Letters that stand apart, as words: where some stand farther apart than the others, words end."""
    gaps = re.findall(r"[\W_]+", spaced)
    letters = re.findall(r"[^\W\d_]", spaced)
    least = min(map(len, gaps))
    ends = [" " if len(gap) > least else "" for gap in gaps]
    return "".join(letter + end for letter, end in zip(letters, [*ends, ""], strict=True))


def _unknown_joined(words: list[str]) -> Iterator[str]:
    """Letters that are in no word stay together."""
    held = ""
    for word in words:
        if len(word) == 1 and word.lower() not in "ai":
            held += word
            continue
        if held:
            yield held
        held = ""
        yield word
    if held:
        yield held


def _cut(word: str) -> str:
    return " ".join(word[at : at + CUT] for at in range(0, len(word), CUT))
