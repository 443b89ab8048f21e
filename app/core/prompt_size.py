"""Everything of a prompt that an engine reads, as texts to count.  admit, generate, count_tokens -> [here].

One function for reservation, limits, context checks, what `count_tokens` tells, and the bill where no engine tells one:
what is counted in one place and not in another is somebody's free lunch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.core.events import Message, Prompt

OVERHEAD_A_MESSAGE = 12
"""Tokens that a chat template may add around a message, or a tool, or a call, at most, for the families in use."""
OVERHEAD_OF_TOOLS = 256
"""Tokens with which a template explains to the model how to call tools, at most."""
MARKS_A_TEXT = 2
"""Tokens that a model without a template may add to a text: its begin and its end."""
_UNREAD = frozenset({"stop", "logit_bias", "metadata", "stop_token_ids", "stream_options"})
"""Fields that are no part of what a model reads, however long."""
_GRAMMAR = frozenset(
    {"response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"}
)
"""Fields that vLLM makes a grammar of, which stands in no prompt; an upstream's model may read them: so they are
reserved.
"""
_LETTERS_A_TOKEN = 2
"""Of a schema, at least."""
_LAYOUT = 8
"""A template may lay JSON out with more blanks than we count: by one part in so many."""


def read_texts(prompt: Prompt) -> list[str]:
    """Its texts, then one for what else each message holds, then one for each field that is a structure."""
    others = [text for message in prompt.messages if (text := _beside(message))]
    return [*prompt.texts, *others, *_structures(prompt)]


def overhead(prompt: Prompt, counts: list[int]) -> int:
    """Tokens that a chat template adds at most. counts: of each of `read_texts`."""
    grammar = sum(len(text) for text in _written(prompt, lambda name: name in _GRAMMAR)) // _LETTERS_A_TOKEN
    if prompt.raw:
        return MARKS_A_TEXT * len(prompt.messages) + grammar
    tools = prompt.params.get("tools") or ()
    calls = sum(len(message.extra.get("tool_calls") or ()) for message in prompt.messages)
    structures = sum(counts[len(prompt.texts) :])
    around = OVERHEAD_A_MESSAGE * (len(prompt.messages) + 2 + len(tools) + calls)
    return around + structures // _LAYOUT + (OVERHEAD_OF_TOOLS if tools else 0) + grammar


def _beside(message: Message) -> str:
    """Names and ids, and whatever else stands beside its texts."""
    return "\n".join(_strings({name: value for name, value in message.extra.items() if name != "tool_calls"})) + (
        "\n".join(_strings([_without_arguments(call) for call in message.extra.get("tool_calls") or ()]))
    )


def _without_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {name: value for name, value in call["function"].items() if name != "arguments"}
    return {**call, "function": function}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, str):
        yield value


def _structures(prompt: Prompt) -> list[str]:
    """Tools, schemas and whatever else is sent as JSON, as templates write it: with a blank after each mark."""
    return _written(prompt, lambda name: name not in _UNREAD and name not in _GRAMMAR)


def _written(prompt: Prompt, counts: Callable[[str], bool]) -> list[str]:
    """The fields that are structures, as JSON."""
    fields = (value for name, value in prompt.params.items() if counts(name))
    return [json.dumps(value, ensure_ascii=False) for value in fields if value and isinstance(value, dict | list)]
