"""Placeholders for personal data, and the vault that knows what they stand for.

`Ann wrote to ann@x.org` becomes `<PERSON_1> wrote to <EMAIL_ADDRESS_1>`. A vault belongs to one call:
`<PERSON_1>` is someone else in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.ports import Span

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")


class Vault:
    """The originals behind one call's placeholders. The same original of a type has one placeholder."""

    def __init__(self) -> None:
        self._originals: dict[str, str] = {}
        self._placeholders: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    @property
    def shape(self) -> tuple[str, ...]:
        """The placeholders in order of appearance: what an answer from the cache must agree on."""
        return tuple(self._originals)

    @property
    def originals(self) -> dict[str, str]:
        """Placeholder -> original."""
        return self._originals

    def reserve(self, texts: Iterable[str]) -> None:
        """Keep placeholders that the caller wrote literally out of use, so they are never 'restored'."""
        for text in texts:
            if "<" in text:
                self._taken.update(PLACEHOLDER.findall(text))

    def hide(self, text: str, spans: Iterable[Span]) -> str:
        """`text` with each span replaced. Spans sorted, not overlapping, as ports.Scrubber returns them."""
        parts, at = [], 0
        for span in spans:
            parts += [text[at : span.start], self._placeholder(text[span.start : span.end], span.type)]
            at = span.end
        return "".join([*parts, text[at:]])

    def _placeholder(self, original: str, kind: str) -> str:
        known = self._placeholders.get((original, kind))
        if known:
            return known
        while True:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            placeholder = f"<{kind}_{self._counts[kind]}>"
            if placeholder not in self._taken:
                break
        self._placeholders[original, kind] = placeholder
        self._originals[placeholder] = original
        return placeholder


class Restorer:
    """Puts originals back into one choice's text as it streams, also where a placeholder is split across pieces.

    Only text that may still become a placeholder of this vault is held back, never more.
    """

    def __init__(self, originals: dict[str, str]) -> None:
        self._originals = originals
        self._pattern = re.compile("|".join(map(re.escape, originals))) if originals else None
        self._longest = max(map(len, originals), default=0)
        self._held = ""

    def feed(self, text: str) -> str:
        """The next piece in, what can be shown out."""
        if self._pattern is None:
            return text
        text = self._held + text
        cut = self._cut(text)
        self._held = text[cut:]
        return self._restore(text[:cut])

    def flush(self) -> str:
        """The end of the text: whatever was held back, as it stands."""
        held, self._held = self._held, ""
        return self._restore(held)

    def _restore(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._originals[found[0]], text) if self._pattern else text

    def _cut(self, text: str) -> int:
        """Where a placeholder that is not yet whole begins; the text's length when there is none."""
        start = text.rfind("<", max(0, len(text) - self._longest + 1))
        if start < 0:
            return len(text)
        tail = text[start:]
        unfinished = any(known.startswith(tail) and known != tail for known in self._originals)
        return start if unfinished else len(text)
