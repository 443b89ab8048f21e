"""Whether somebody else's text is in a conversation: tools' results and pasted documents.  scrub -> [foreign]."""

from __future__ import annotations

from collections.abc import Iterable

from app.core.events import Message
from app.safety.untrusted import RESULTS, SHORT, pastes

LONG = 2_000
"""Characters of a message that nobody typed by hand."""


def foreign(messages: Iterable[Message]) -> bool:
    """messages: as the caller sent them."""
    return any(message.role in RESULTS or (message.role == "user" and _pasted(message)) for message in messages)


def _pasted(message: Message) -> bool:
    if len(message.text) > LONG:
        return True
    return any(end - start >= SHORT for start, end in pastes(message.text, message.breaks))
