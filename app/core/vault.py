"""Names in place of personal data, and the vault that knows what they stand for.  scrub -> [vault] -> restore.

`Ann wrote to ann@x.org` becomes `<PERSON_1> wrote to <EMAIL_ADDRESS_1>`, or as a Naming of privacy/pseudonyms.py calls
them. A vault belongs to one call: `<PERSON_1>` is someone else in another.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import orjson

from app.core.ports import Span

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")
IDENTIFIER = 64
"""Characters of an identifier: what OpenAI's and Anthropic's APIs take."""
_NO_IDENTIFIER = re.compile(r"[^A-Za-z0-9_-]")


class Naming(Protocol):
    """What originals are called instead. restored: whether the answer gets them back.

    parts: name -> original, for words of names that stand for words of originals; restored where they stand alone.
    """

    @property
    def restored(self) -> bool: ...

    @property
    def parts(self) -> Mapping[str, str]: ...

    def __call__(self, original: str, kind: str) -> str | None:
        """The original's name; None: it gets a numbered placeholder."""
        ...


class Vault:
    """The originals behind one call's names. The same original of a type has one name."""

    def __init__(self, naming: Naming | None = None) -> None:
        """naming: None numbers the originals of each type, `<PERSON_1>`."""
        self._naming = naming
        self._names: dict[tuple[str, str], str] = {}
        self._originals: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()
        self._identifiers: dict[str, str] = {}
        self._restored: dict[bool, Names] = {}

    @property
    def shape(self) -> tuple[str, ...]:
        """The names in order of appearance: what an answer from the cache must agree on."""
        return tuple(self._names.values())

    @property
    def originals(self) -> dict[str, str]:
        """Name -> original, of those that are put back."""
        return self._originals

    @property
    def identifiers(self) -> Mapping[str, str]:
        """Identifier as the engine knows it -> as the caller wrote it. They come back in every mode."""
        return self._identifiers

    def identify(self, original: str, hidden: str, taken: Container[str]) -> str:
        """`hidden` as an identifier: letters, digits, `_` and `-`, at most 64. taken: identifiers of the request."""
        name = plain = _NO_IDENTIFIER.sub("", hidden)[:IDENTIFIER] or "name"
        at = 2
        while name in taken or self._identifiers.get(name, original) != original:
            name, at = f"{plain[: IDENTIFIER - 8]}_{at}", at + 1
        self._identifiers[name] = original
        return name

    def reserve(self, texts: Iterable[str]) -> None:
        """Keep placeholders that the caller wrote literally out of use, so they are never 'restored'."""
        for text in texts:
            if "<" in text:
                self._taken.update(PLACEHOLDER.findall(text))

    def hide(self, text: str, spans: Iterable[Span]) -> str:
        """`text` with each span replaced. Spans sorted, not overlapping, as ports.Scrubber returns them."""
        parts, at = [], 0
        for span in spans:
            parts += [text[at : span.start], self.name(text[span.start : span.end], span.type)]
            at = span.end
        return "".join([*parts, text[at:]])

    def restorer(self, *, quoted: bool = False) -> Restorer:
        """For one text of an answer. quoted: it is JSON, where originals go in escaped."""
        if quoted not in self._restored:
            self._restored[quoted] = self._table(quoted=quoted)
        return Restorer(self._restored[quoted])

    def _table(self, *, quoted: bool) -> Names:
        parts = self._naming.parts if self._naming else {}
        both = {**parts, **self._originals}
        words = frozenset(parts.keys() - self._originals.keys())
        return Names({_quoted(name): _quoted(original) for name, original in both.items()} if quoted else both, words)

    def name(self, original: str, kind: str) -> str:
        """What this original is called instead, now and later."""
        known = self._names.get((original, kind))
        if known:
            return known
        given = self._naming(original, kind) if self._naming else None
        name = given or self._number(kind)
        self._names[original, kind] = name
        self._restored.clear()
        if given is None or (self._naming and self._naming.restored):
            self._originals[name] = original
        return name

    def _number(self, kind: str) -> str:
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            placeholder = f"<{kind}_{self._counts[kind]}>"
            if placeholder not in self._taken:
                return placeholder


class Names:
    """Names and their originals, made once for all texts of an answer.

    words: those of the names that count only where they stand as whole words.
    """

    def __init__(self, originals: Mapping[str, str], words: frozenset[str] = frozenset()) -> None:
        self.originals = originals
        self.longest = max(map(len, originals), default=0)
        self.pattern = _pattern(sorted(originals.keys() - words), sorted(words)) if originals else None
        self._words = words
        self._sorted = sorted(originals)

    def unsure(self, text: str) -> bool:
        """Whether what follows the text decides if it is a name: it begins a longer one, or may begin another word."""
        if text in self._words:
            return True
        at = bisect_left(self._sorted, text)
        return any(name != text and name.startswith(text) for name in self._sorted[at : at + 2])


class Restorer:
    """Puts originals back into one text as it streams, also where a name is split across pieces.

    Only text that may still become a name of this vault is held back, never more.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._before = ""  # the character that left last: whether a word begins after it
        self._held = ""

    def feed(self, text: str) -> str:
        """The next piece in, what can be shown out."""
        if self._names.pattern is None:
            return text
        held = self._held + text
        return self._let_out(held, self._cut(held))

    def flush(self) -> str:
        """The end of the text: whatever was held back, as it stands."""
        return self._let_out(self._held, len(self._held)) if self._held else ""

    def _let_out(self, text: str, cut: int) -> str:
        """`text` up to `cut`, restored; a name that is whole is not cut in two. The rest is held."""
        skip = len(self._before)
        text, cut, at, out = self._before + text, cut + skip, skip, []
        for found in self._names.pattern.finditer(text, skip) if self._names.pattern else ():
            if found.start() >= cut:
                break
            cut = max(cut, found.end())
            out += [text[at : found.start()], self._names.originals[found[0]]]
            at = found.end()
        out.append(text[at:cut])
        self._before, self._held = text[max(0, cut - 1) : cut], text[cut:]
        return "".join(out)

    def _cut(self, text: str) -> int:
        """Where a name that is not yet whole begins; the text's length when there is none."""
        starts = range(max(0, len(text) - self._names.longest), len(text))
        return next((start for start in starts if self._names.unsure(text[start:])), len(text))


def _pattern(whole: Sequence[str], words: Sequence[str]) -> re.Pattern[str]:
    """Either kind, the longest where one begins another."""
    either = [_tree(whole)] if whole else []
    return re.compile("|".join([*either, rf"(?<!\w)(?:{_tree(words)})(?!\w)"] if words else either))


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


def _quoted(text: str) -> str:
    """As it stands within a JSON string."""
    return orjson.dumps(text).decode()[1:-1]
