"""A conversation's summary in place of an answer: what clients ask for when the window is full.

answer -> [compaction] -> compactions. It is a call like any other: scrubbed, judged, billed. Its text goes out sealed,
as one item, and is opened when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from app.api.openai.responses.items import Item
from app.core import errors
from app.core.errors import ApiError
from app.core.events import Message, Prompt, Token

ASKED = (
    "Write a summary of our conversation so far, from which another assistant can go on with the work alone. Say what "
    "was asked, what was decided and found, which files, names, numbers and commands matter, what is done and what is "
    "left to do. Keep exact names and values. Write nothing but the summary."
)
Happening = tuple[str, dict[str, Any]]


def asking(prompt: Prompt) -> Prompt:
    """The prompt that makes the summary. No tool is offered, and no form is asked for."""
    form = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "logprobs", "top_logprobs")
    params = {name: value for name, value in prompt.params.items() if name not in form}
    return replace(prompt, messages=(*prompt.messages, Message("user", ASKED)), params=params)


class Summary:
    """As Output: the one item, put together from Tokens. seal: text -> what the client carries.

    fault: why there is none. A summary that was cut off at the limit is one.
    """

    def __init__(self, new_id: Callable[[str], str], seal: Callable[[str], str]) -> None:
        self.items: list[Item] = []
        self.incomplete: str | None = None
        self.fault: ApiError | None = None
        self._new_id = new_id
        self._seal = seal
        self._texts: list[str] = []

    @property
    def status(self) -> str:
        """`completed`, always: half a summary is none."""
        return "completed"

    def add(self, token: Token) -> Iterator[Happening]:
        """Take the next Token in. Nothing of it is told."""
        if not token.reasoning:  # what it thought is no part of a summary
            self._texts.append(token.text)
        self.stop(token.finish_reason)
        return iter(())

    def stop(self, reason: str | None) -> None:
        """Why it ends: a finish_reason."""
        if reason == "content_filter":
            self.fault = errors.content_filter()

    def end(self) -> Iterator[Happening]:
        """Nothing more comes."""
        text = "".join(self._texts).strip()
        if not text and not self.fault:
            self.fault = _nothing()
        if self.fault:
            return
        item = {"id": self._new_id("cmp"), "type": "compaction", "encrypted_content": self._seal(text)}
        self.items.append(item)
        yield "response.output_item.added", {"output_index": 0, "item": item}
        yield "response.output_item.done", {"output_index": 0, "item": item}


def _nothing() -> ApiError:
    said = "The model wrote no summary. Please try again."
    return ApiError(503, said, type="server_error", code="no_summary", retry_after=1)
