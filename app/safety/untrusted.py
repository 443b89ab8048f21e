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
SHARE = 2
"""Times the message's length that its pastes have together: nested tags hold the same words again and again."""
SHORT = 20
"""A paste of fewer characters holds no order."""
NESTED = 3
SENTENCES = 8
"""Sentences with a word of override that are judged apart, the first of a message: among rules one is outweighed."""
_SENTENCE = re.compile(r"[^\n.!?。]{8,400}")
_OVERRIDE = re.compile(
    r"ignor|disregard|forget|overrid|bypass|previous|prior|earlier|system prompt|system message|instruction|reveal"
    r"|secret|obey|restriction|hidden|vergiss|oubli|olvid|dimentic|esque[cç]|anweisung|consigne|игнор|забудь|忽略|忘记|無視|무시"
    r"|تجاهل|अनदेखा",
    re.IGNORECASE,
)
_FENCES = ("```", "~~~", '"""')
_TAG = re.compile(r"<(/?)([A-Za-z][\w.-]{0,40})(?:\s[^<>]{0,200})?>")


class Paste(str):
    """A piece that stands in a message and is judged by itself as well."""

    __slots__ = ()


class Sentence(str):
    """One sentence of a message that may order an override."""

    __slots__ = ()


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
    yield from _apart(text, message.breaks)
    yield from _sentences(text)


def _apart(text: str, breaks: Iterable[int]) -> Iterator[str]:
    """The pastes that are judged by themselves: each once, at most MOST, together at most SHARE times the message."""
    seen: set[str] = set()
    left = SHARE * len(text)
    for start, end in pastes(text, breaks):
        if end - start < SHORT or end - start >= len(text):
            continue
        left -= end - start
        if left < 0:
            return
        piece = text[start:end]
        if piece in seen or len(piece.strip()) < SHORT:
            continue
        seen.add(piece)
        yield Paste(piece)
        if len(seen) == MOST:
            return


def _sentences(text: str) -> Iterator[str]:
    """Those that may order an override, each once, without what lists and comments put before them."""
    found = (match[0].strip(" \t-*#>/") for match in _SENTENCE.finditer(text))
    orders = (one for one in found if len(one) + SHORT < len(text) and _OVERRIDE.search(one))
    yield from map(Sentence, islice(dict.fromkeys(islice(orders, 4 * SENTENCES)), SENTENCES))


def pastes(text: str, breaks: Iterable[int] = ()) -> Iterator[tuple[int, int]]:
    """[start, end) of what stands between fences (three backquotes, tildes or quotes) or in a tag, and of the parts
    that a client sent. Places and no texts: of nested tags each is nearly as long as the whole.
    """
    cuts = [0, *breaks, len(text)]
    if len(cuts) > len((0, 0)):
        yield from pairwise(cuts)
    for fence in _FENCES:
        yield from _fenced(text, fence)
    yield from _tagged(text)


def _fenced(text: str, fence: str) -> Iterator[tuple[int, int]]:
    """Between the first and the second fence, the third and the fourth, and from the last to the end if it is open."""
    opened = text.find(fence)
    while opened >= 0:
        start = opened + len(fence)
        end = text.find(fence, start)
        yield start, len(text) if end < 0 else end
        opened = -1 if end < 0 else text.find(fence, end + len(fence))


def _tagged(text: str) -> Iterator[tuple[int, int]]:
    """Of nested elements of one name the innermost."""
    opened: dict[str, int] = {}
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] = tag.end()
        elif name in opened:
            yield opened.pop(name), tag.start()


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
