"""The order of turns that every chat template takes: one system turn, the first.  generate -> [turns] -> engine.

Callers put system turns anywhere, and judges and scrubber see them so. An engine gets the leading ones as one; a later
one stands in a tag within the user's turn beside it. What a turn becomes hangs on what stands before it and on the turn
behind it alone, so a conversation that grows by an answer and a question keeps its prefix, and the engine its cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from app.core.events import Message

SYSTEM = frozenset({"system", "developer"})
RESULTS = frozenset({"tool", "function"})
OPENED, CLOSED = "<system>\n", "\n</system>"


def ordered(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same conversation with at most one system turn, its first. Of nothing but system turns the last one asks."""
    leading = list(takewhile(_is_system, messages))
    rest = messages[len(leading) :]
    if not rest and leading:
        *leading, last = leading
        rest = [replace(last, role="user")]
    first = [Message("system", "\n\n".join(one.text for one in leading if one.text))] if leading else []
    if len(leading) == 1:
        first = [replace(leading[0], role="system")]
    return (*first, *_folded(list(_behind_results(rest))))


def _is_system(message: Message) -> bool:
    return message.role in SYSTEM


def _behind_results(messages: Sequence[Message]) -> Iterator[Message]:
    """A tool's result stands right behind its call: a system turn between them comes after it."""
    held: list[Message] = []
    calling = False
    for message in messages:
        if _is_system(message) and calling:
            held.append(message)
            continue
        if message.role not in RESULTS:
            yield from held
            held = []
            calling = bool(message.extra.get("tool_calls"))
        yield message
    yield from held


def _folded(messages: Sequence[Message]) -> Iterator[Message]:
    """System turns as parts of the user's turn before them, else of the one behind, else as a user's turn."""
    turn: Message | None = None
    waiting: list[str] = []
    for message in messages:
        if _is_system(message):
            if not message.text.strip():
                continue
            if turn is not None and turn.role == "user":
                turn = _saying(turn, [turn.text, _told(message.text)])
            else:
                waiting.append(_told(message.text))
            continue
        if turn is not None:
            yield turn
        turn = message
        if waiting and message.role == "user":
            turn = _saying(message, [*waiting, message.text])
        elif waiting:
            yield Message("user", "\n".join(waiting))
        waiting = []
    if turn is not None:
        yield turn
    if waiting:
        yield Message("user", "\n".join(waiting))


def _saying(message: Message, texts: Sequence[str]) -> Message:
    return replace(message, text="\n".join(text for text in texts if text), breaks=())


def _told(text: str) -> str:
    return f"{OPENED}{text}{CLOSED}"
