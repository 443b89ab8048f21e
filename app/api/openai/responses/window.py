"""Drop a conversation's oldest turns where no pool would hold it all.  route -> [window].

Asked for by `truncation: auto`, and always where the conversation is to be summed up: that happens when it is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from app.api.token_count import tokens_of
from app.core.events import Message, Prompt
from app.core.ports import Principal
from app.pipeline.gateway import Gateway

MARKS = 8
"""Tokens that a chat template puts around a message, about."""
ANSWER = 1_024
"""Tokens left for an answer whose length was not asked for, but never more than a quarter of the window."""


async def shortened(prompt: Prompt, gateway: Gateway, who: Principal) -> Prompt:
    """The prompt without as many of its oldest turns as fit into no pool of its model.

    What stands before the first user's turn stays, and so does the last user's turn with all that follows.
    """
    tiers = gateway.catalog.tiers_of(prompt.model)
    pools = {pool for tier in tiers for pool in gateway.policy.tiers[tier].pools}
    window = max((gateway.catalog.context[pool] for pool in pools if pool in gateway.catalog.context), default=0)
    window = min(window, who.context_length or window)
    answer = int(prompt.params.get("max_completion_tokens") or min(ANSWER, window // 4))
    room = window - answer
    if sum(len(text.encode("utf-8", "replace")) for text in prompt.texts) + MARKS * len(prompt.messages) <= room // 2:
        return prompt  # a byte is at most a token, and half is left for the tools
    return await asyncio.to_thread(_shortened, prompt, room, gateway.ports.count)


def _shortened(prompt: Prompt, room: int, count: Callable[[str], int]) -> Prompt:
    messages = prompt.messages
    users = [at for at, one in enumerate(messages) if one.role == "user"]
    lead = users[0] if users else len(messages)
    left = room - tokens_of(replace(prompt, messages=messages[:lead]), count) - MARKS * lead
    begin = len(messages)
    for at in range(len(messages) - 1, lead - 1, -1):
        left -= _size(messages[at], count)
        if left < 0 and begin < len(messages):
            break
        if messages[at].role == "user":
            begin = at
    return replace(prompt, messages=(*messages[:lead], *messages[begin:])) if users else prompt


def _size(message: Message, count: Callable[[str], int]) -> int:
    return MARKS + sum(map(count, message.texts))
