"""Puts originals back into one text as it streams.  vault -> [restorer] -> restore.

Names that stand for an original are told in every spelling of app/core/placeholders.py, stand-ins to the letter.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Protocol

import orjson

from app.core.placeholders import KINDS, PLACEHOLDER, UNKNOWN, WINDOW, beginning, meant, narrow, read, spelling

Numbered = tuple[str, int]
"""Type and number of a placeholder."""
TAIL = 2048
"""Characters of a line that are looked at to tell whether a name stands in a link."""
_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")


class Links(Protocol):
    """Which names may come back within a link."""

    def forbid(self, before: str, name: str) -> bool:
        """Whether this name stays as it is. before: the line up to it, as the model wrote it."""
        ...


class Replaced(NamedTuple):
    """[start, end) of what the model wrote, and what is shown for it."""

    start: int
    end: int
    shown: str


class Names:
    """Names and their originals, made once for all texts of an answer.

    words: those of the names that count only where they stand as whole words. taken: placeholders that the caller
    wrote: they are literal.
    """

    def __init__(
        self,
        originals: Mapping[str, str],
        words: AbstractSet[str] = frozenset(),
        taken: Container[Numbered] = (),
        links: Links | None = None,
    ) -> None:
        self.links = links
        self._taken = taken
        self._numbered = {
            numbered(name): original for name, original in originals.items() if PLACEHOLDER.fullmatch(name)
        }
        kinds = frozenset(one for one, _ in self._numbered)
        self._kinds = kinds
        self._meant = meant(kinds)
        self._others = {name: original for name, original in originals.items() if not PLACEHOLDER.fullmatch(name)}
        self._longest = max(map(len, self._others), default=0)
        self._words = words
        self._sorted = sorted(self._others)
        exact = _pattern(sorted(self._others.keys() - words), sorted(words & self._others.keys()))
        spelt = spelling(kinds).pattern if kinds else ""
        either = "|".join([*([f"(?P<exact>{exact})"] if exact else []), *([spelt] if spelt else [])])
        self.pattern = re.compile(either) if either else None
        self._begins = beginning(kinds) if kinds else None

    def shown(self, found: re.Match[str]) -> str | None:
        """What stands for this match of `pattern`: None: the match itself; UNKNOWN: nobody gave this name out."""
        if found.lastgroup == "exact":
            return self._others[found[0]]
        named, number = read(found[0])
        maybe = [one for one in self._meant.get(named, (named,)) if (one, number) in self._numbered]
        if len(maybe) == 1:
            return self._numbered[maybe[0], number]
        return UNKNOWN if self._invented(named, number, found[0]) else None

    def _invented(self, named: str, number: int, spelt: str) -> bool:
        known = named in self._kinds or (named in KINDS and spelt.upper() == spelt)
        return known and (named, number) not in self._taken

    def cut(self, text: str) -> int:
        """Where a name that is not yet whole begins; the text's length when there is none."""
        starts = range(max(0, len(text) - self._longest), len(text))
        exact = next((start for start in starts if self._unsure(text[start:])), len(text))
        begun = self._begins.search(text, max(0, len(text) - WINDOW)) if self._begins else None
        return min(exact, begun.start()) if begun else exact

    def _unsure(self, text: str) -> bool:
        """Whether what follows the text decides if it is a name: it begins a longer one, or may begin another word."""
        if text in self._words:
            return True
        at = bisect_left(self._sorted, text)
        return any(name != text and name.startswith(text) for name in self._sorted[at : at + 2])


class Restorer:
    """Puts originals back into one text as it streams, also where a name is split across pieces.

    Only text that may still become a name of this vault is held back, never more.
    """

    def __init__(self, names: Names, *, quoted: bool = False) -> None:
        """quoted: the text is JSON, where originals go in escaped; a text that begins as JSON does is taken for it."""
        self._names = names
        self._quoted: bool | None = quoted or None
        self._head = ""
        self._before = ""  # the characters that left last: whether a word begins after them
        self._line = ""
        self._held = ""
        self.at = 0  # characters of the text that have left
        self.replaced: list[Replaced] = []
        self.unknown = 0

    @property
    def unfinished(self) -> bool:
        """Whether what is held back is no whole name yet."""
        pattern, before = self._names.pattern, len(self._before)
        return bool(self._held) and not (pattern and pattern.fullmatch(narrow(self._before + self._held), before))

    def feed(self, text: str) -> str:
        """The next piece in, what can be shown out."""
        if self._names.pattern is None:
            self.at += len(text)
            return text
        if self._quoted is None and len(self._head) < WINDOW:
            self._head += text[:WINDOW]
        held = self._held + text
        return self._let_out(held, self._names.cut(narrow(self._before + held)) - len(self._before))

    def flush(self) -> str:
        """The end of the text: whatever was held back, as it stands."""
        return self._let_out(self._held, len(self._held)) if self._held else ""

    def _let_out(self, text: str, cut: int) -> str:
        """`text` up to `cut`, restored; a name that is whole is not cut in two. The rest is held."""
        skip = len(self._before)
        text, cut, at, out = self._before + text, max(cut, 0) + skip, skip, []
        for found in self._names.pattern.finditer(narrow(text), skip) if self._names.pattern else ():
            if found.start() >= cut:
                break
            cut = max(cut, found.end())
            shown = self._shown(found, text)
            if shown is not None:
                self.replaced.append(Replaced(self.at + found.start() - skip, self.at + found.end() - skip, shown))
                out += [text[at : found.start()], shown]
                at = found.end()
        out.append(text[at:cut])
        if self._names.links:
            self._line = (self._line + text[skip:cut]).rpartition("\n")[2][-TAIL:]
        self.at += cut - skip
        self._before, self._held = text[max(0, cut - 2) : cut], text[cut:]
        return "".join(out)

    def _shown(self, found: re.Match[str], text: str) -> str | None:
        shown = self._names.shown(found)
        if shown is None:
            return None
        if shown is UNKNOWN:
            self.unknown += 1
            return shown
        links = self._names.links
        if links and links.forbid(self._line + text[len(self._before) : found.start()], found[0]):
            return None
        return _escaped(shown) if self._is_json() else shown

    def _is_json(self) -> bool:
        return bool(self._quoted) or bool(_JSON.match(self._head))


def numbered(name: str) -> Numbered:
    """Type and number of `<PERSON_1>`."""
    word, _, number = name[1:-1].rpartition("_")
    return word, int(number)


def _pattern(whole: Sequence[str], words: Sequence[str]) -> str:
    """Either kind, the longest where one begins another."""
    either = [_tree(whole)] if whole else []
    return "|".join([*either, rf"(?<!\w)(?:{_tree(words)})(?!\w)"] if words else either)


def _tree(names: Sequence[str], at: int = 0) -> str:
    """A pattern of these names, sorted and alike up to `at`: however many they are, it reads each character once."""
    if len(names) == 1:
        return re.escape(names[0][at:])
    ends = len(names[0]) == at  # the first of them is where the others begin
    branches = (_branch(list(group), at) for _, group in groupby(names[ends:], key=itemgetter(at)))
    return f"(?:{'|'.join(branches)}){'?' * ends}"


def _branch(names: Sequence[str], at: int) -> str:
    """Names that have one more character in common, or more."""
    same, end = at, min(len(names[0]), len(names[-1]))
    while same < end and names[0][same] == names[-1][same]:
        same += 1
    return re.escape(names[0][at:same]) + (_tree(names, same) if len(names) > 1 else "")


def _escaped(text: str) -> str:
    """As it stands within a JSON string."""
    return orjson.dumps(text).decode()[1:-1]
