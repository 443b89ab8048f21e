"""The words in a request's tools and answer format: what a person or a third party wrote there, not the keys.

scrub, guard -> [schemas]. A name in a description is a name, and a description may hold an order to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.core import errors

FIELDS = ("tools", "response_format")
WORDS = frozenset({"description", "title"})
VALUES = frozenset({"enum", "const", "default", "examples", "example"})
"""Under these every string counts, however deep; under `properties` and `$defs` they are names that somebody chose."""
NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
DEEPEST = 200
"""Levels of a schema; no schema that somebody wrote comes near."""
Say = Callable[[str], str]


def words(params: Mapping[str, Any]) -> list[str]:
    """Every such string of the request, in order. Raises ApiError (400) for what is nested too deep to be read."""
    found: list[str] = []

    def take(text: str) -> str:
        found.append(text)
        return text

    for field in FIELDS:
        _walk(params.get(field), take)
    return found


def tools(params: Mapping[str, Any]) -> list[str]:
    """Each tool's words, as one text."""
    each = (words({"tools": [tool]}) for tool in params.get("tools") or ())
    return ["\n".join(said) for said in each if said]


def saying(params: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """The same request with other words: as many, in the same order."""
    left: Iterator[str] = iter(texts)
    return {name: _walk(value, lambda _: next(left)) if name in FIELDS else value for name, value in params.items()}


def _walk(node: Any, say: Say, depth: int = 0, *, whole: bool = False, named: bool = False) -> Any:
    """whole: every string below is a value. named: the keys of this object are names. Raises ApiError (400)."""
    if depth > DEEPEST:
        raise errors.too_deep(DEEPEST)
    if isinstance(node, str):
        return say(node) if whole and node else node
    if isinstance(node, list | tuple):
        return [_walk(one, say, depth + 1, whole=whole) for one in node]
    if not isinstance(node, Mapping):
        return node
    made = {}
    for key, value in node.items():
        word = not named and (key in VALUES or (key in WORDS and isinstance(value, str)))
        names = not whole and not named and key in NAMED
        made[key] = _walk(value, say, depth + 1, whole=whole or word, named=names)
    return made
