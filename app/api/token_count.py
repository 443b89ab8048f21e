"""How many tokens a prompt is, by the gateway's own count.  responses, messages -> [counting].

The same that is reserved and billed where no engine tells; the marks that a model's chat template puts around it are
not counted.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.events import Prompt
from app.core.prompt_size import read_texts


def tokens_of(prompt: Prompt, count: Callable[[str], int]) -> int:
    """count: text -> tokens."""
    return sum(map(count, read_texts(prompt)))
