"""What of a prompt came from outside the application, in the pieces that are judged.  prompt -> [untrusted] -> guard.

What is judged by itself cannot be diluted by what stands around it. A message is judged whole as well, where it is cut:
an order may be spread over the cuts. All of it takes linear time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Any

from app.core.events import Message, Prompt

JUDGED = frozenset({"user", "tool", "function"})
"""Roles whose text comes from outside. System turns are the application's own, and assistant turns are what the model
said before: whoever sends those could as well write the system prompt.
"""
RESULTS = frozenset({"tool", "function"})
MOST = 8
"""Pastes of one message that are judged apart; further ones are judged with the whole alone."""
SHORT = 20
"""A paste of fewer characters holds no order."""
NESTED = 3
_FENCES = ("```", "~~~", '"""')
_TAG = re.compile(r"<(/?)([A-Za-z][\w.-]{0,40})(?:\s[^<>]{0,200})?>")


def whole(prompt: Prompt) -> list[str]:
    """The messages from outside, each as one text."""
    return [message.text for message in prompt.messages if message.role in JUDGED and message.text]


def pieces(prompt: Prompt) -> list[str]:
    """The same, with what is pasted into a message also by itself, and tool results as the words that they hold."""
    return [piece for message in prompt.messages if message.role in JUDGED for piece in _pieces(message)]


def _pieces(message: Message) -> Iterator[str]:
    text = message.text
    if message.role in RESULTS and (said := strings(text)) is not None:
        text = said
    if text:
        yield text
    apart = (piece for piece in pastes(text, message.breaks) if SHORT <= len(piece.strip()) < len(text))
    yield from islice(dict.fromkeys(apart), MOST)


def pastes(text: str, breaks: Iterable[int] = ()) -> Iterator[str]:
    """What stands between fences (three backquotes, tildes or quotes) or in a tag, and the parts that a client sent."""
    cuts = [0, *breaks, len(text)]
    if len(cuts) > len((0, 0)):
        yield from (text[start:end] for start, end in pairwise(cuts))
    for fence in _FENCES:
        if fence in text:
            yield from text.split(fence)[1::2]
    yield from _tagged(text)


def _tagged(text: str) -> Iterator[str]:
    """Of nested elements of one name the innermost."""
    opened: dict[str, int] = {}
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] = tag.end()
        elif name in opened:
            yield text[opened.pop(name) : tag.start()]


def strings(text: str, depth: int = NESTED) -> str | None:
    """The words in a JSON text, a line each, also of JSON within its strings: escapes hide them. None: it is no JSON.

    Keys count where they are words, and every one that is there, also one that stands twice in its object.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        left: list[Any] = [json.loads(text, object_pairs_hook=_Pairs)]
    except (ValueError, RecursionError):
        return None
    found: list[str] = []
    while left:
        node = left.pop()
        if isinstance(node, _Pairs):
            left += [one for key, value in reversed(node) for one in (value, key if " " in key else None)]
        elif isinstance(node, list):
            left += reversed(node)
        elif isinstance(node, str):
            inner = strings(node, depth - 1) if depth else None
            found.append(node if inner is None else inner)
    return "\n".join(found)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all that stands in it."""
