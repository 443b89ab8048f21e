"""Which texts a model was trained on, kept as a Bloom filter beside its weights: a few kilobytes and no text.

So `make eval` can leave them out of its figures, whatever folder of data it is given.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE = "seen.bin"
ROUNDS = 7  # with 10 bits a text: 0.8 % of unseen texts are left out too


class Seen:
    """A set of texts that only knows whether one is probably in it. bits: a multiple of 8."""

    def __init__(self, bits: bytes | bytearray) -> None:
        self._bits = bits

    @classmethod
    def of(cls, texts: Iterable[str]) -> Seen:
        """The set of these texts. Of a pair: both, joined by a NUL."""
        all_ = list(texts)
        seen = cls(bytearray(max(8, math.ceil(10 * len(all_) / 8))))
        for text in all_:
            for at in seen._places(text):
                seen._bits[at >> 3] |= 1 << (at & 7)  # type: ignore[index] # a bytearray here
        return seen

    @classmethod
    def load(cls, folder: Path) -> Seen:
        """What stands in `folder`; where there is nothing, the empty set."""
        path = folder / FILE
        return cls(path.read_bytes() if path.exists() else bytes(8))

    def save(self, folder: Path) -> None:
        """Write it beside the weights."""
        (folder / FILE).write_bytes(self._bits)

    def __contains__(self, text: str) -> bool:
        return all(self._bits[at >> 3] >> (at & 7) & 1 for at in self._places(text))

    def _places(self, text: str) -> Iterator[int]:
        digest = hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).digest()
        first, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:16]) | 1
        return ((first + n * step) % (8 * len(self._bits)) for n in range(ROUNDS))
