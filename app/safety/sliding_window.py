"""The moderator's sliding window over one choice's text: pure bookkeeping, no scoring.

Invariant: `release` hands out only what `texts` has handed to a scorer since it was added.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from app.core.events import Token

Part = int | str | None
"""As Token.part."""


class SlidingWindow:
    """window: characters scored together. overlap: of them, how many left before: every score sees them again, so that
    a phrase cannot hide across the edge. None: half of the window.

    The text and each tool call have windows of their own: two calls that arrive in turns do not break up each other's
    words. Raises ValueError where overlap is not below window.
    """

    def __init__(self, window: int, overlap: int | None = None) -> None:
        self._window = window
        self._overlap = window // 2 if overlap is None else overlap
        if not 0 <= self._overlap < window:
            message = f"overlap {self._overlap}: must be at least 0 and below window ({window})"
            raise ValueError(message)
        self._left: dict[Part, str] = {}
        self._pending: list[Token] = []
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
        return bool(self._pending) and self._pending[-1].finish_reason is not None

    def add(self, token: Token) -> None:
        """Hold a Token back."""
        self._pending.append(token)
        self._length += len(token.said)

    def texts(self) -> list[str]:
        """Windows that together contain every pending character, each with what came before it. Empty: nothing new."""
        self._showing = len(self._pending)
        new: dict[Part, list[str]] = {}
        for token in self._pending:
            if token.said:
                new.setdefault(token.part, []).append(token.said)
        return [text for part, said in new.items() for text in self._cut(part, "".join(said))]

    def _cut(self, part: Part, new: str) -> list[str]:
        left = self._left.get(part, "")
        whole = left[max(0, len(left) - self._overlap) :] + new
        step = self._window - self._overlap
        starts = range(0, max(1, len(whole) - self._overlap), step)
        return [whole[start : start + self._window] for start in starts]

    def release(self) -> list[Token]:
        """What `texts` last showed: one Token for the text, one for each tool call, in their order."""
        shown, self._pending = self._pending[: self._showing], self._pending[self._showing :]
        self._showing = 0
        if shown:
            self.fresh = False
        for token in shown:
            left = self._left.get(token.part, "") + token.said
            self._left[token.part] = left[max(0, len(left) - self._overlap) :]
            self._length -= len(token.said)
        return [_joined(list(tokens)) for _, tokens in groupby(shown, key=lambda token: token.part)]


def _joined(tokens: list[Token]) -> Token:
    """Several Tokens of one part as one."""
    logprobs = [entry for token in tokens for entry in token.logprobs or ()]
    whole = replace(tokens[-1], logprobs=logprobs or None).saying("".join(token.said for token in tokens))
    if whole.tool is None:
        return whole
    first = tokens[0].tool
    assert first is not None  # noqa: S101 - all are of one part
    return replace(whole, tool=replace(whole.tool, id=first.id, name=first.name))
