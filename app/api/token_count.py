"""How many tokens a prompt is, by the gateway's own count.  responses, messages -> [counting].

Texts, tool calls and tools are counted, the marks that a model's chat template puts around them are not.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from app.core.events import Prompt


def tokens_of(prompt: Prompt, count: Callable[[str], int]) -> int:
    """count: text -> tokens."""
    tools = prompt.params.get("tools")
    return sum(map(count, prompt.texts)) + (count(orjson.dumps(tools).decode()) if tools else 0)
