"""What a pool sends to the gateway arrives as it was; of one that is gone, that it is."""

from __future__ import annotations

from typing import Any

import pytest
from ray.serve.exceptions import DeploymentUnavailableError

from app.core.events import Token, ToolDelta, Usage
from app.core.ports import EngineError, Generation
from deployments.engine_client import ServeEngine, decode, encode

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


class Gone:
    """A handle to a deployment that was deleted, and what it gives: whatever is done with that raises, as Ray does."""

    def options(self, **_: Any) -> Gone:
        return self

    def remote(self, *_: Any) -> Gone:
        return self

    def cancel(self) -> None:
        raise DeploymentUnavailableError("gone")

    def __aiter__(self) -> Gone:
        return self

    async def __anext__(self) -> bytes:
        raise DeploymentUnavailableError("gone")

    def __await__(self) -> Any:
        raise DeploymentUnavailableError("gone")


async def test_a_pool_that_was_deleted_may_be_replaced_and_is_not_ready() -> None:
    engine = ServeEngine(Gone())  # type: ignore[arg-type]
    with pytest.raises(EngineError) as failed:
        [event async for event in engine.generate(Generation("call-1", (), {}))]
    assert failed.value.retryable
    assert not await engine.ready()
