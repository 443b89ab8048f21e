"""Characters beyond U+FFFF that JSON cuts into two halves, put together again.  openai_stream -> [here].

A server that escapes its JSON and cuts between tokens sends half a character with one piece and half with the next.
"""

from __future__ import annotations

import re
from collections.abc import Hashable

LONE = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """The text with its halves joined where they stand together, and U+FFFD where one stands alone."""
    if text.isascii() or not LONE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Halves:
    """Of each part of an answer, the half that waits for its other one."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether any part waits."""
        return bool(self._waiting)

    def feed(self, part: Hashable, text: str) -> str:
        """The part's next piece in, what of it is whole out."""
        if not text:
            return text
        text = self._waiting.pop(part, "") + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._waiting[part], text = text[-1], text[:-1]
        return whole(text)

    def end(self, part: Hashable) -> str:
        """U+FFFD where the part ended with half a character; else nothing."""
        return "\ufffd" if self._waiting.pop(part, "") else ""
