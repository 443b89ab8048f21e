"""What the model thought, as items of type `reasoning`.  output -> [Thoughts]."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any


class Thoughts:
    """Adds its items to `items`, the last of which it may hold open."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._items = items
        self._open: dict[str, Any] | None = None

    def say(self, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The next piece; a stream's events, each by its name."""
        if self._open is None:
            item: dict[str, Any] = {
                "id": f"rs_{secrets.token_hex(16)}",
                "type": "reasoning",
                "summary": [],
                "content": [],
            }
            self._open = item
            self._items.append(item)
            yield "response.output_item.added", self._at(item={**item, "status": "in_progress", "content": []})
            item["content"] = [{"type": "reasoning_text", "text": ""}]
        self._open["content"][0]["text"] += text
        yield "response.reasoning_text.delta", self._part(delta=text)

    def end(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Something else comes, or nothing more."""
        if self._open is None:
            return
        item = self._open
        item["status"] = "completed"
        yield "response.reasoning_text.done", self._part(text=item["content"][0]["text"])
        yield "response.output_item.done", self._at(item=item)
        self._open = None

    def _at(self, **said: Any) -> dict[str, Any]:
        return {"output_index": len(self._items) - 1, **said}

    def _part(self, **said: Any) -> dict[str, Any]:
        assert self._open is not None  # noqa: S101 - both callers have looked
        return self._at(item_id=self._open["id"], content_index=0, **said)
