"""What a pool sends to the gateway arrives as it was."""

from __future__ import annotations

import pytest

from app.core.events import Token, ToolDelta, Usage
from deployments.engine_client import decode, encode

ENTRY = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}


@pytest.mark.parametrize("usage", [None, Usage(3, 2, 1)])
def test_tokens_tool_calls_and_stop_sequences_come_through_whole(usage: Usage | None) -> None:
    tokens = [
        Token("Hi", 1, [ENTRY]),
        Token("", finish_reason="stop"),
        Token("", finish_reason="stop", stop="END"),
        Token("", tool=ToolDelta(0, '{"a"', "call_1", "weather")),
        Token("", tool=ToolDelta(1, ":1}"), finish_reason="tool_calls", stop="END"),
    ]
    assert (usage, tokens) == decode(encode(usage, tokens))
