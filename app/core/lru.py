"""What was found out of recent texts, without keeping the texts: by their hash, the least recently used leaves."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """At most `most` findings. For texts that come again with every call: tools, schemas."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, text: str) -> bool:
        return _digest(text) in self._found

    def __getitem__(self, text: str) -> T:
        digest = _digest(text)
        self._found.move_to_end(digest)
        return self._found[digest]

    def get(self, text: str, default: T) -> T:
        """What was found out of this text, or `default`."""
        try:
            return self[text]
        except KeyError:
            return default

    def __setitem__(self, text: str, found: T) -> None:
        self._found[_digest(text)] = found
        while len(self._found) > self._most:
            self._found.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
