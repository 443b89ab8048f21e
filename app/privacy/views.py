r"""A string as a reader decodes it, for judges that know words and no escapes.  places -> [views] -> scrubber -> vault.

`"\u0041da"` in JSON is `Ada`, and so is `A[d]a` in a pattern. A span that was found in what is read is led back to
what was spelt.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.core.places import Place
from app.core.ports import Span

_JSON = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\"\\/bfnrt])")
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_PATTERN = re.compile(r"\\[^\w\s]|\[[^\]\\^]\]|\\s[*+?]?|[\^$]")
r"""`\.`, `[.]`, `\s+` and anchors: what an address or a name in a pattern is spelt with."""


@dataclass(frozen=True, slots=True)
class View:
    """text: as it is read. raw: as it is spelt. starts, ends: of each character of `text` where its spelling in `raw`
    begins and ends; None: the two are as long as each other.
    """

    text: str
    raw: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None

    def hidden(self, spans: Iterable[Span], name: Callable[[str, str], str]) -> str:
        """`raw` with each span replaced. spans: in `text`, sorted, not overlapping. name: (original, type) -> name."""
        parts, at = [], 0
        for span in spans:
            start, end = self._spelt(span)
            parts += [self.raw[at:start], name(self.text[span.start : span.end], span.type)]
            at = end
        return "".join([*parts, self.raw[at:]])

    def _spelt(self, span: Span) -> tuple[int, int]:
        if self.starts is None or self.ends is None or span.start >= span.end:
            return span.start, span.end
        return self.starts[span.start], self.ends[span.end - 1]


def view(place: Place) -> View:
    """The string at this place as it is read. Takes linear time."""
    text = place.text
    if place.kind == "json" and "\\" in text:
        return _decoded(text, _JSON, _unescaped)
    if place.kind == "pattern":
        return _decoded(text, _PATTERN, _meant)
    if place.kind == "speaker":
        return View(text.replace("_", " "), text)
    return View(text, text)


def _decoded(raw: str, spelling: re.Pattern[str], read: Callable[[str], str]) -> View:
    parts: list[str] = []
    starts, ends = array("I"), array("I")  # four bytes a character: a body may have millions
    at = 0
    for found in spelling.finditer(raw):
        meant = read(found[0])
        parts += [raw[at : found.start()], meant]
        starts.extend([*range(at, found.start()), *[found.start()] * len(meant)])
        ends.extend([*range(at + 1, found.start() + 1), *[found.end()] * len(meant)])
        at = found.end()
    if not at:
        return View(raw, raw)
    starts.extend(range(at, len(raw)))
    ends.extend(range(at + 1, len(raw) + 1))
    return View("".join([*parts, raw[at:]]), raw, starts, ends)


def _unescaped(found: str) -> str:
    if found[1] != "u":
        return _SIGNS.get(found[1], found[1])
    units = [int(part, 16) for part in found.split("\\u")[1:]]
    return b"".join(unit.to_bytes(2, "big") for unit in units).decode("utf-16-be", "surrogatepass")


def _meant(found: str) -> str:
    if found in ("^", "$"):
        return ""
    return " " if found.startswith("\\s") else found[1]


# -- many short strings at once ---------------------------------------------------------------------

WORD = re.compile(r"[^\s]{1,64}")
AT_ONCE = 64
"""Words of one scan: property names and ids are many and short, and a scan costs milliseconds."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that are scanned together, a line each."""

    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        """What is scanned."""
        return "\n".join(self.texts)

    def split(self, spans: Sequence[Span]) -> Iterator[tuple[str, list[Span]]]:
        """Each text with the spans that lie in it, in its own characters."""
        start, left = 0, list(spans)
        for text in self.texts:
            end = start + len(text)
            here = [_within(span, start, end) for span in left if span.start < end and start < span.end]
            left = [span for span in left if span.end > end]
            yield text, here
            start = end + 1


def batches(texts: Iterable[str]) -> list[Batch]:
    """Words together, everything else by itself."""
    alone: list[Batch] = []
    words: list[str] = []
    for text in texts:
        if WORD.fullmatch(text):
            words.append(text)
        else:
            alone.append(Batch((text,)))
    return [*alone, *(Batch(tuple(words[at : at + AT_ONCE])) for at in range(0, len(words), AT_ONCE))]


def _within(span: Span, start: int, end: int) -> Span:
    return Span(max(span.start, start) - start, min(span.end, end) - start, span.type, span.score)
