"""How many tokens a prompt is: as the engine counts them, where the gateway has the model's tokenizer and template.

responses, messages -> [counting] -> engines.tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.events import Prompt
from app.core.ports import Tokenizer
from app.engines.tokenizer import count_chat


def tokens_of(prompt: Prompt, count: Callable[[str], int], tokenizer: Tokenizer | None = None) -> int:
    """count: text -> tokens, where there is no template."""
    return count_chat(prompt, tokenizer, count)
