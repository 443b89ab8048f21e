"""The moderator's sliding window over one choice: every string of its Tokens. Pure bookkeeping, no scoring.

Invariant: `release` hands out only what `texts` has handed to a scorer since it was added.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from itertools import groupby

from app.core.events import Token
from app.safety.sentences import sentences
from app.safety.spoken import ALTERNATIVES, Part, alternative, spoken


class SlidingWindow:
    """window: characters scored together. overlap: of them, how many left before: every score sees them again, so that
    a phrase cannot hide across the edge. None: half of the window. known: words of the request, which are not scored.

    The text, each tool call and every other string have windows of their own: two calls that arrive in turns do not
    break up each other's words. New sentences are also shown by themselves, so that nothing around them dilutes them.
    Raises ValueError where overlap is not below window.
    """

    def __init__(self, window: int, overlap: int | None = None, known: Container[str] = ()) -> None:
        self._window = window
        self._overlap = window // 2 if overlap is None else overlap
        if not 0 <= self._overlap < window:
            message = f"overlap {self._overlap}: must be at least 0 and below window ({window})"
            raise ValueError(message)
        self._known = known
        self._left: dict[Part, str] = {}
        self._pending: list[tuple[Token, list[tuple[Part, str]]]] = []
        self._length = 0
        self._showing = 0
        self.fresh = True

    @property
    def waiting(self) -> int:
        """Characters not yet released."""
        return self._length

    @property
    def ended(self) -> bool:
        """Whether the choice's last Token is among the pending."""
        return bool(self._pending) and self._pending[-1][0].finish_reason is not None

    def add(self, token: Token) -> None:
        """Hold a Token back."""
        said = spoken(token, self._known)
        self._pending.append((token, said))
        self._length += _length(said)

    def texts(self) -> list[str]:
        """Windows that together contain every pending character, each with what came before it. Empty: nothing new."""
        return [text for _, text in self.shown()]

    def shown(self) -> list[tuple[Part, str]]:
        """The same, each with the part that it is of."""
        self._showing = len(self._pending)
        new: dict[Part, list[str]] = {}
        for _, said in self._pending:
            for part, text in said:
                new.setdefault(part, []).append(text)
        return [(part, text) for part, said in new.items() for text in self._cut(part, "".join(said))]

    def _cut(self, part: Part, new: str) -> list[str]:
        left = self._left.get(part, "")  # at most `overlap` of it was kept
        whole = left + new
        step = self._window - self._overlap
        starts = range(0, max(1, len(whole) - self._overlap), step)
        windows = [whole[start : start + self._window] for start in starts]
        by_themselves = sentences(whole, len(left)) if not alternative(part) else []
        there = {window.strip() for window in windows}
        return [*windows, *(one for one in by_themselves if len(one) <= self._window and one not in there)]

    def release(self, *, alternatives: bool = True) -> list[Token]:
        """What `texts` last showed: one Token for the text, one for each tool call, in their order.

        alternatives: False leaves out what might have been said in the words' place.
        """
        shown, self._pending = self._pending[: self._showing], self._pending[self._showing :]
        self._showing = 0
        if shown:
            self.fresh = False
        for _, said in shown:
            self._length -= _length(said)
            for part, text in said:
                left = self._left.get(part, "") + text
                self._left[part] = left[max(0, len(left) - self._overlap) :]
        tokens = [_joined(list(group)) for _, group in groupby((token for token, _ in shown), key=_kind)]
        return tokens if alternatives else [_bare(token) for token in tokens]


def _length(said: list[tuple[Part, str]]) -> int:
    """Characters that wait: without those that come beside others."""
    return sum(len(text) for part, text in said if "logprobs" not in part)


def _kind(token: Token) -> Token:
    """What pieces of one part have in common."""
    tool = replace(token.tool, arguments="", id=None, name=None) if token.tool else None
    return replace(token, text="", logprobs=None, finish_reason=None, stop=None, tool=tool)


def _bare(token: Token) -> Token:
    if not token.logprobs:
        return token
    return replace(token, logprobs=[{**entry, ALTERNATIVES: []} for entry in token.logprobs])


def _joined(tokens: list[Token]) -> Token:
    """Several Tokens of one part as one."""
    logprobs = [entry for token in tokens for entry in token.logprobs or ()]
    whole = replace(tokens[-1], logprobs=logprobs or None).saying("".join(token.said for token in tokens))
    if whole.tool is None:
        return whole
    first = tokens[0].tool
    assert first is not None  # noqa: S101 - all are of one part
    return replace(whole, tool=replace(whole.tool, id=first.id, name=first.name))
