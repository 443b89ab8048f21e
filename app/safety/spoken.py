"""Every string of a Token, and which part of the answer it is.  [spoken] -> moderate, leak.

A Token is walked, not listed: a field that nobody has heard of is read like the answer's text. What is not read is
FORM, and what a caller of `spoken` knows to be the request's own words. Pure; linear in the Token's strings.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from app.core.events import Token

Part = tuple[str | int, ...]
"""A path: strings of one part are one text, in the order of their Tokens. The first words tell the kind of piece."""

_FORM = """
stop length tool_calls content_filter function_call function text content reasoning thinking refusal answer
"""
FORM = frozenset(_FORM.split())
"""What a Token's field of one word may say: how an answer ended, what kind of piece it is."""
SAID = frozenset({"text", "arguments"})
"""Fields that are pieces of a longer text: no word of theirs is form."""
ALTERNATIVES = "top_logprobs"
"""What might have been said: it can be left out of an answer."""


def spoken(token: Token, known: Container[str] = ()) -> list[tuple[Part, str]]:
    """The Token's strings that somebody may read, each with its part; the empty ones left out.

    known: words of the request itself, such as its tools' names: a field that is one of them says nothing new.
    """
    kind = tuple(sorted(_form(token)))
    found = [(kind + part, text) for part, text in _walk(token, ()) if text and not _is_form(part, text, known)]
    if token.logprobs and _echoed(token):
        found = [(part, text) for part, text in found if part[len(kind) :] != ("logprobs", "token")]
    return found


def alternative(part: Part) -> bool:
    """Whether it can be left out."""
    return ALTERNATIVES in part


def _form(token: Token) -> Iterator[str]:
    """The words that tell what kind of piece it is: pieces of another kind are another text."""
    for item in fields(token):
        value = getattr(token, item.name)
        if item.name not in {"text", "finish_reason", "stop"} and isinstance(value, str) and value in FORM:
            yield value


def _is_form(part: Part, text: str, known: Container[str]) -> bool:
    return part[-1] not in SAID and "logprobs" not in part and (text in FORM or text in known)


def _echoed(token: Token) -> bool:
    """Whether the logprobs' tokens are the piece's own text: it is read as that."""
    return "".join(str(entry.get("token", "")) for entry in token.logprobs or ()) == token.said


def _walk(node: Any, part: Part) -> Iterator[tuple[Part, str]]:
    if isinstance(node, str):
        yield part, node
    elif is_dataclass(node):
        here = (*part, node.index) if hasattr(node, "index") and isinstance(node.index, int) else part
        for item in fields(node):
            yield from _walk(getattr(node, item.name), (*here, item.name))
    elif isinstance(node, Mapping):
        yield from _mapped(node, part)
    elif isinstance(node, list | tuple):
        for rank, one in enumerate(node):
            yield from _walk(one, (*part, rank) if part[-1] == ALTERNATIVES else part)


def _mapped(node: Mapping[str, Any], part: Part) -> Iterator[tuple[Part, str]]:
    """A mapping's values, the words that its bytes spell, and keys that are none of a logprob's."""
    for key, value in node.items():
        if key == "bytes" and _are_bytes(value):
            spelt = bytes(value).decode("utf-8", "ignore")
            if spelt != node.get("token"):
                yield (*part, "bytes"), spelt
            continue
        if key not in {"token", "logprob", "bytes", ALTERNATIVES}:
            yield (*part, "keys"), f"{key} "
        yield from _walk(value, (*part, key))


def _are_bytes(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value)
