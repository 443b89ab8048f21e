"""Whether an answer repeats the system prompt, character by character, as it streams.  moderate -> [leaks] -> leak.

Compared are letters and digits alone, without case, accents and look-alikes: blanks, marks and zero-width characters
between them hide nothing. The system prompt is looked for as it is, backwards, in ROT13, in Base64 and in hex. A
translation or a retelling is not found.
"""

from __future__ import annotations

import base64
import codecs
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.core.text import LOOK_ALIKES

LEAST = 40
"""A system prompt of fewer letters and digits tells nothing: `You are a helpful assistant.`"""
LIKE = {letter: ours.lower() for letter, ours in LOOK_ALIKES.items()}
"""Letters that look like Latin ones, on both sides."""


def folded(text: str) -> str:
    """Its letters and digits, comparable. Two texts folded and joined are the joined texts folded: streams may be cut
    anywhere.
    """
    if text.isascii():
        return "".join(filter(str.isalnum, text.lower()))
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(filter(str.isalnum, plain.translate(LIKE)))


@dataclass(frozen=True, slots=True)
class Secret:
    """A system prompt in one of its forms. run: so many characters of it in a row are a leak."""

    text: str
    run: int

    @property
    def probe(self) -> int:
        """Characters by which a run is looked for before it is looked at closely."""
        return self.run // 2


def secrets(texts: Iterable[str], run: int) -> list[Secret]:
    """What must not come back. texts: system prompts."""
    found = []
    for text in texts:
        plain = folded(text)
        if len(plain) < LEAST:
            continue
        least = min(run, len(plain))
        found += [Secret(form, least) for form in (plain, plain[::-1], codecs.encode(plain, "rot13"))]
        found += [Secret(form, min(run, len(form))) for form in _encoded(text)]
    return found


def _encoded(text: str) -> list[str]:
    """In Base64, for whatever stands before it, and in hex."""
    raw = text.encode("utf-8", "surrogatepass")
    shifted = (base64.b64encode(b"\0" * shift + raw)[4 * (shift > 0) : -4].decode() for shift in range(3))
    return [form for form in map(folded, (*shifted, raw.hex())) if len(form) >= LEAST]


class LeakWatcher:
    """Reads one text of an answer. allowed: what may be repeated, folded; asked for only when a run was found."""

    def __init__(self, secrets: Sequence[Secret], allowed: Callable[[], str] = str) -> None:
        self._secrets = secrets
        self._allowed = allowed
        self._keep = max((secret.run for secret in secrets), default=1) - 1
        # A piece this long or shorter leaves a whole probe before it of every run that ends in it.
        self._step = max(1, min((secret.run - secret.probe for secret in secrets), default=1))
        self._said = ""

    def leaks(self, text: str) -> bool:
        """Whether the text so far holds a run, now that this piece has come."""
        new = folded(text)
        return any(self._piece(new[at : at + self._step]) for at in range(0, len(new), self._step))

    def _piece(self, new: str) -> bool:
        said, begin = self._said + new, len(self._said)
        self._said = said[-self._keep :] if self._keep else ""
        return any(self._ends(said, begin, secret) for secret in self._secrets)

    def _ends(self, said: str, begin: int, secret: Secret) -> bool:
        """Whether a run of this secret ends after `begin`."""
        if len(said) < secret.run or said[max(0, begin - secret.probe) : begin] not in secret.text:
            return False
        for end in range(max(begin + 1, secret.run), len(said) + 1):
            window = said[end - secret.run : end]
            if window in secret.text and window not in self._allowed():
                return True
        return False
