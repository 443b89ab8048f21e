"""Names in place of personal data, and the vault that knows what they stand for.  scrub -> [vault] -> restore.

`Ann wrote to ann@x.org` becomes `<PERSON_1> wrote to <EMAIL_ADDRESS_1>`, or as a Naming of privacy/pseudonyms.py calls
them. A vault belongs to one call: `<PERSON_1>` is someone else in another.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Protocol

from app.core.placeholders import KINDS, meant, narrow, read, spelling
from app.core.ports import Span
from app.core.restorer import Links, Names, Numbered, Restorer

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
        self._taken: set[Numbered] = set()
        self._identifiers: dict[str, str] = {}
        self._table: Names | None = None
        self._links: Links | None = None

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

    def reserve(self, texts: Iterable[str], kinds: Iterable[str] = ()) -> None:
        """Keep placeholders that the caller wrote literally out of use, so they are never 'restored'.

        kinds: types that will be hidden, beside the usual ones.
        """
        types = KINDS.union(kinds)
        spelt, called = spelling(types), meant(types)
        for text in texts:
            for found in spelt.finditer(narrow(text)):
                word, number = read(found[0])
                self._taken.update((one, number) for one in called.get(word, (word,)))

    def guard(self, links: Links) -> None:
        """Put originals back into such links alone."""
        self._links = links
        self._table = None

    def hide(self, text: str, spans: Iterable[Span]) -> str:
        """`text` with each span replaced. Spans sorted, not overlapping, as ports.Scrubber returns them."""
        parts, at = [], 0
        for span in spans:
            parts += [text[at : span.start], self.name(text[span.start : span.end], span.type)]
            at = span.end
        return "".join([*parts, text[at:]])

    def restorer(self, *, quoted: bool = False) -> Restorer:
        """For one text of an answer. quoted: it is JSON, where originals go in escaped."""
        if self._table is None:
            parts = self._naming.parts if self._naming else {}
            both = {**parts, **self._originals}
            self._table = Names(both, parts.keys() - self._originals.keys(), self._taken, self._links)
        return Restorer(self._table, quoted=quoted)

    def name(self, original: str, kind: str) -> str:
        """What this original is called instead, now and later."""
        known = self._names.get((original, kind))
        if known:
            return known
        given = self._naming(original, kind) if self._naming else None
        name = given or self._number(kind)
        self._names[original, kind] = name
        self._table = None
        if given is None or (self._naming and self._naming.restored):
            self._originals[name] = original
        return name

    def _number(self, kind: str) -> str:
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            if (kind, self._counts[kind]) not in self._taken:
                return f"<{kind}_{self._counts[kind]}>"
