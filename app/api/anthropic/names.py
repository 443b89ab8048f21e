"""Tool names as every engine takes them: 64 letters, digits, `_` and `-`.  request -> [names] -> engine -> answer.

Anthropic's API takes 128 characters, and agents use them (`mcp__server__tool`). A name that is too long goes to
the engine shortened by a digest of itself, one with other characters as a digest alone: the same in every turn, and
turned back in the answer.
"""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 64
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LENGTH}}}")
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST = 10


class Names:
    """Those of one request."""

    def __init__(self) -> None:
        self._long: dict[str, str] = {}

    def sent(self, name: str) -> str:
        """As the engine knows it."""
        short = shortened(name)
        if short != name:
            self._long[short] = name
        return short

    def told(self, name: str) -> str:
        """As the caller knows it."""
        return self._long.get(name, name)


def shortened(name: str) -> str:
    """A name that every engine takes; one that is such already stays as it is."""
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    if _ODD.search(name):  # no API allows it: what stands there may be anybody's words, and none of them is shown
        return f"tool_{digest}"
    return f"{name[: MAX_LENGTH - _DIGEST - 1]}_{digest}"
