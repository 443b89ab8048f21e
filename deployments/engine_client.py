"""A pool's deployment as the Engine port.  generate -> [ServeEngine] -> Serve -> PoolServer -> vLLM.

Runs in the gateway: loads neither vLLM nor torch. Pool and gateway speak rows, not OpenAI chunks: vLLM's JSON is read
in the pool's process, of which there can be many, and not in the gateway's.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from ray.exceptions import RayError
from ray.serve.context import _set_request_context
from ray.serve.exceptions import BackPressureError, RayServeException

from app.core.events import Token, ToolDelta, Usage
from app.core.ports import REPLICA_LOST, EngineError
from app.engines.openai_stream import STREAM_OPTIONS, completion_params
from app.engines.vllm_params import for_vllm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ray.serve.handle import DeploymentHandle

    from app.core.ports import Generation

log = logging.getLogger(__name__)

# What a caller may set. vLLM takes many more fields, some of which (chat_template, kv_transfer_params) are not a
# caller's to set.
PARAMS = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stop", "seed", "logprobs"),
        *("top_logprobs", "presence_penalty", "frequency_penalty", "logit_bias", "response_format", "tools"),
        *("tool_choice", "parallel_tool_calls", "reasoning_effort", "top_k", "min_p", "min_tokens"),
        *("repetition_penalty", "ignore_eos", "stop_token_ids", "structured_outputs", "chat_template_kwargs"),
        *("skip_special_tokens", "include_stop_str_in_output"),
    }
)
LATER = 1
"""vLLM's priority of a request in the background: the lowest number is served first, and 0 is what all others have."""


@dataclass(frozen=True, slots=True)
class Chat:
    """What goes to a pool: the messages and the other fields of a chat request, as OpenAI spells them.

    raw: the text of the one message is a completion request's prompt.
    """

    conversation: list[dict[str, Any]]  # under the name `messages` the router would take it in place of `prompt`
    params: dict[str, Any]
    raw: bool = False

    @property
    def prompt(self) -> str:
        """What the prefix-aware router compares: as in vLLM's prefix cache, one tenant's text is not another's."""
        texts = (str(message.get("content") or "") for message in self.conversation)
        return "\n".join((str(self.params.get("cache_salt") or ""), *texts))


def encode(usage: Usage | None, tokens: list[Token]) -> bytes:
    """A batch, in the pool. Bytes, because Ray sends them without pickling."""
    counts = (usage.prompt, usage.completion, usage.cached, usage.reasoning, usage.estimated) if usage else None
    return orjson.dumps((counts, [_row(token) for token in tokens]))


def decode(batch: bytes) -> tuple[Usage | None, list[Token]]:
    """The same batch, in the gateway. Raises EngineError: the batch is one."""
    counts, rows = orjson.loads(batch)
    if isinstance(rows, dict):
        raise EngineError(**rows)
    return Usage(*counts) if counts else None, [
        Token(*row[:4], *(part and ToolDelta(*part) for part in row[4:5]), *row[5:]) for row in rows
    ]


def _row(token: Token) -> tuple[Any, ...]:
    plain = (token.text, token.choice, token.logprobs, token.finish_reason)
    tool = token.tool
    part = tool and (tool.index, tool.arguments, tool.id, tool.name)
    return (*plain, part, token.stop, token.kind) if tool or token.stop or token.reasoning else plain


def encode_error(error: EngineError) -> bytes:
    """An error is sent as the stream's last item: raised, Ray would wrap it in its own and add a stack trace."""
    fields = {"message": error.message, "retryable": error.retryable, "code": error.code, "param": error.param}
    return orjson.dumps((None, fields))


class ServeEngine:
    """The Engine port over a handle to what `build_pool` made. `patience`: seconds that `ready` waits.

    salted: keep each tenant's prefix cache apart (`Generation.salt`).
    """

    def __init__(self, handle: DeploymentHandle, *, patience: float = 2.0, salted: bool = True) -> None:
        self._generate = handle.options(method_name="generate", stream=True)
        self._check = handle.options(method_name="check")
        self._patience = patience
        self._salted = salted

    async def generate(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        """Stream from a replica; closing it, at any moment, aborts the generation in vLLM. Raises EngineError."""
        response = None
        finished = False
        try:
            response = _context(request.call_id).run(self._generate.remote, self._chat(request))
            usage = Usage()
            async for batch in response:
                counted, tokens = decode(batch)
                if counted is not None:
                    usage = counted
                    yield usage
                for token in tokens:
                    yield token
            finished = True
            yield usage
        except (Exception, asyncio.CancelledError) as error:
            if (known := lost(error)) is None:
                raise
            raise known from None
        finally:
            if not finished:
                _cancel(response)

    async def ready(self) -> bool:
        """Whether a replica answers within `patience` and its engine is healthy. Never raises."""
        response = None
        try:
            response = self._check.remote()
            async with asyncio.timeout(self._patience):
                await response
        except Exception:  # noqa: BLE001  whatever went wrong, it is not ready
            _cancel(response)
            return False
        return True

    def _chat(self, request: Generation) -> Chat:
        params = for_vllm({k: v for k, v in request.params.items() if v is not None and k in PARAMS})
        params |= {"stream": True, "stream_options": STREAM_OPTIONS, "request_id": request.call_id}
        if request.salt and self._salted:
            params["cache_salt"] = request.salt
        if request.background:
            params["priority"] = LATER
        if request.raw:
            params = completion_params(params)
        elif request.resume:
            params |= {"continue_final_message": True, "add_generation_prompt": False}
        return Chat([message.wire() for message in request.messages], params, request.raw)


def _cancel(response: Any) -> None:
    """Give a call up. Ray raises here what the call itself would, of a pool that is gone: it has been said already."""
    if response is not None:
        with suppress(Exception):
            response.cancel()


def _context(call_id: str) -> Context:
    """A Serve request context of the call's own.

    All calls of one request would share its internal id otherwise, by which the prefix-aware router tells pending
    calls apart: of several at once (a batch worker's), all but one would wait for ever (Ray 2.60).
    """
    context = copy_context()
    context.run(_set_request_context, request_id=call_id, _internal_request_id=uuid4().hex)
    return context


def lost(error: BaseException) -> EngineError | None:
    """The EngineError for what Ray raises. None: the error is the caller's own (cancelled) or known already."""
    if isinstance(error, EngineError):
        return None
    if isinstance(error, asyncio.CancelledError):
        # Ray also says so when it is the replica that went away: then nobody cancelled us.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return None
        return EngineError("the pool's replica was stopped while it answered", retryable=True)
    if isinstance(error, BackPressureError):
        return EngineError("the pool's queue is full", retryable=True, code="overloaded")
    if not isinstance(error, RayError | RayServeException | OSError | TimeoutError):
        log.error("pool stream broke: %s", type(error).__name__)
    return EngineError("the pool's replica was lost or does not answer", retryable=True, code=REPLICA_LOST)
