"""The conversation that a request goes on with: what is stored, what it refers to, what is new.  route -> [history].

A reference is looked up by the id of the response that made the item, which stands in the item's own id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.api.openai.responses.items import (
    TRIGGER,
    CompactionItem,
    Conversation,
    Item,
    MessageItem,
    ReferenceItem,
    message,
    other,
)
from app.api.openai.responses.request import Counted
from app.api.stored.compactions import Compactions
from app.api.stored.responses import Responses
from app.core import errors
from app.core.owner import Owner

SUMMARY = "[What went before, in short]\n"
MOST_READ = 64
"""Stored responses that one request's references may lead to."""
_OURS = re.compile(r"[a-z]+_([0-9a-f]{24})[0-9a-f]{8}")


@dataclass
class History:
    """Where conversations are kept. responses None: nowhere."""

    owner: Owner
    responses: Responses | None
    compactions: Compactions
    _known: dict[str, Item] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)

    async def conversation(self, asked: Counted, *, compacts: bool = False) -> Conversation:
        """All of it, kept and new. compacts: it is to be summed up in any case. Raises ApiError (400), LedgerError."""
        made = Conversation()
        if asked.previous_response_id:
            made.items += self._opened(await self._before(asked.previous_response_id))
        new: list[Any] = [MessageItem(role="user", content=asked.input)] if isinstance(asked.input, str) else []
        new = new or list(asked.input or ())
        made.compacts = compacts or any(_is_trigger(item) for item in new)
        await self._look_up([item.id for item in new if isinstance(item, ReferenceItem)])
        newest = len(new) if made.compacts else _newest(new)
        for at, item in enumerate(new):
            made.items += self._taken(item, made.left_out, newest=at >= newest, at=at)
        return made

    def _taken(self, item: Any, left_out: list[str], *, newest: bool, at: int) -> Iterable[Item]:
        """A new item as kept ones. Raises ApiError (400)."""
        if isinstance(item, ReferenceItem):
            return self._referred(item.id, left_out, at)
        if isinstance(item, CompactionItem):
            return self._opened([item.model_dump()], f"input[{at}].encrypted_content")
        if isinstance(item, dict):
            return () if _is_trigger(item) else (other(item),)
        return (item.kept(left_out, newest=newest, at=at),)

    def _referred(self, item_id: str, left_out: list[str], at: int) -> Iterable[Item]:
        found = self._known.get(item_id)
        if found is not None:
            return self._opened([found])
        if item_id.startswith("rs_"):  # reasoning is left out in any case
            left_out.append("input.reasoning")
            return ()
        raise errors.bad_request(
            f"Item with id '{item_id[:100]}' not found. Send the item itself in place of the reference.",
            f"input[{at}].id",
            "item_not_found",
        )

    def _opened(self, items: Iterable[Item], where: str = "input") -> list[Item]:
        """The items with every compaction as the message that was sealed. Raises ApiError (400)."""
        return [self._summary(item, where) if item["type"] == "compaction" else item for item in items]

    def _summary(self, item: Item, where: str) -> Item:
        text = self.compactions.open(self.owner, item["encrypted_content"])
        if text is None:
            said = f"Invalid value for '{where}': this compaction was not made here for this project, or was changed."
            raise errors.bad_request(said, where, "invalid_encrypted_content")
        return message("user", [SUMMARY + text], item.get("id"))

    async def _before(self, response_id: str) -> list[Item]:
        found = await self.responses.read(self.owner, response_id) if self.responses else None
        if found is None:
            raise errors.previous_response_not_found(response_id)
        if found.response["status"] not in ("completed", "incomplete"):
            said = f"The previous response is {found.response['status']}: go on from one that has been answered."
            raise errors.bad_request(said, "previous_response_id", "previous_response_not_answered")
        self._read.add(response_id)
        items = [dict(item) for item in found.conversation]
        self._known |= {item["id"]: item for item in items if item.get("id")}
        return items

    async def _look_up(self, ids: list[str]) -> None:
        """Read what is referred to, the newest first: a response holds the items that it was made from, too."""
        for item_id in reversed(ids):
            ours = _OURS.fullmatch(item_id)
            if item_id in self._known or not ours or self.responses is None:
                continue
            response_id = f"resp_{ours[1]}"
            if response_id in self._read or len(self._read) >= MOST_READ:
                continue
            self._read.add(response_id)
            if found := await self.responses.read(self.owner, response_id):
                made = [*found.items, *found.response["output"]]
                self._known = {item["id"]: dict(item) for item in made if item.get("id")} | self._known


def _is_trigger(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == TRIGGER


def _newest(items: list[Any]) -> int:
    """Where the turn begins that is to be answered: behind all that is no user's or developer's message."""
    old = [at for at, item in enumerate(items) if not isinstance(item, MessageItem) or item.role == "assistant"]
    return old[-1] + 1 if old else 0
