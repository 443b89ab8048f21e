"""Count a text's tokens in the gateway, without a model: a tokenizer.json where there is one, else an estimate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def counter(source: str | None) -> Callable[[str], int]:
    """Text -> tokens. `source`: a model (`bundled:`, `path:`, `hub:`), or None for an estimate by length."""
    if source is None:
        return estimate
    from tokenizers import Tokenizer

    from app.models import resolve

    place = resolve(source)
    file = Path(place) / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file)) if file.exists() else Tokenizer.from_pretrained(place)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count


def estimate(text: str) -> int:
    """A lower bound for English and code: four bytes a token."""
    return len(text.encode()) // 4
