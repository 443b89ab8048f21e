"""The servers inside a pool's replicas: `ray.serve.llm`'s own, with a compact stream and vLLM's own counts.

ServeEngine -> [PoolServer.generate] -> LLMServer.chat or .completions -> vLLM. Imports vLLM: for replicas and for
building the graph, never for the gateway.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm import LLMServer
from ray.serve.llm.deployment import PDDecodeServer, PDPrefillServer
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest
from vllm.v1.metrics.loggers import AggregateStatLoggerBase

from app.core.events import Token, Usage
from app.core.ports import REPLICA_LOST, EngineError
from app.engines.openai_stream import AUTO_TOOLS, ChatStream
from deployments.engine_client import encode, encode_error
from deployments.request_faults import request_fault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from deployments.engine_client import Chat

log = logging.getLogger(__name__)

# Each message costs the gateway about 0.2 ms, whatever it holds. A replica sends at most 1 / SPACING a second (and a
# stream of its own never waits longer than LONGEST); with a single stream, every token leaves at once. Seconds.
SPACING, SHORTEST, LONGEST = 0.0005, 0.001, 0.025

# vLLM's own words name its classes.
LOST = EngineError("the engine failed while it answered", retryable=True, code=REPLICA_LOST)


class LocalModel(CallbackBase):
    """For weights that lie on disk: skips the download task, which costs a worker process with vLLM of its own."""

    async def on_before_node_init(self) -> None:
        """Say that there is nothing to fetch."""
        self.ctx.run_init_node = False


class Counter(AggregateStatLoggerBase):
    """Keeps the scheduler's last counts, as vLLM's own metrics receive them."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0

    def record(self, scheduler_stats: Any, *_args: Any, **_kwargs: Any) -> None:
        """Take over the counts of one step."""
        if scheduler_stats is not None:
            self.running = scheduler_stats.num_running_reqs
            self.waiting = scheduler_stats.num_waiting_reqs

    def log_engine_initialized(self) -> None:
        """Nothing to say."""


class PoolEngine(VLLMEngine):
    """ray.serve.llm's engine, without a process of its own for the only worker of a CPU pool."""

    def _prepare_engine_config(self, callback_ctx: Any) -> Any:
        args, frontend, config = super()._prepare_engine_config(callback_ctx)
        parallel = config.parallel_config
        if self.llm_config.accelerator_config.kind == "cpu" and parallel.world_size == 1:
            # ray.serve.llm always asks for "mp" on a CPU: one more process that imports torch and vLLM (10 s of a
            # core, 0.8 GB). That pins threads to cores; pools that share a few cores must not be pinned anyway.
            parallel.distributed_executor_backend = "uni"
        return args, frontend, config


class Streams:
    """Adds `generate`, `check` and `stats` to a server of ray.serve.llm."""

    engine: Any
    _llm_config: Any
    _default_engine_cls = PoolEngine
    _open = 0  # streams on their way

    async def _start_engine(self) -> None:
        # LLMServer would also start a telemetry process here (0.4 GB).
        await self.engine.start()
        self._counter = Counter()
        self.engine._engine_client.logger_manager.stat_loggers.append(self._counter)  # noqa: SLF001  no public way

    async def generate(self, chat: Chat) -> AsyncGenerator[bytes, None]:
        """Stream batches (`engine_client.decode`); the last one may be an error. Closing it aborts the generation."""
        self._open += 1
        begun = False
        try:
            stream = ChatStream()
            async with aclosing(coalesce(await self._ask(chat), self._pause)) as batches:
                async for chunks in batches:
                    usage, tokens = _read(stream, chunks)
                    begun = begun or bool(tokens)
                    if usage is not None or tokens:
                        yield encode(usage, tokens)
        except EngineError as error:
            yield encode_error(LOST if error.retryable else error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the gateway is to hear of it
            fault = None if begun else request_fault(error)
            if fault is None:
                frames = "".join(traceback.format_tb(error.__traceback__))
                # Not its words: they may quote the prompt.
                log.error("generation failed: %s\n%s", type(error).__name__, frames)  # noqa: TRY400
            yield encode_error(fault or LOST)
        finally:
            self._open -= 1

    async def _ask(self, chat: Chat) -> AsyncGenerator[Any, None]:
        """The answer's chunks. Raises EngineError, and what vLLM raises."""
        config = self._llm_config
        params = {"model": config.model_id, **chat.params}
        if config.engine_kwargs.get("scheduling_policy") != "priority":
            params.pop("priority", None)  # vLLM refuses what it would not heed
        server: Any = self  # an LLMServer
        if chat.raw:
            prompt = chat.conversation[0]["content"]
            return await server.completions(CompletionRequest(prompt=prompt, **params))  # type: ignore[no-any-return]
        if (wants := _wants_auto_tools(params)) and not config.engine_kwargs.get("enable_auto_tool_choice"):
            raise EngineError("no auto tools", retryable=False, code=AUTO_TOOLS, param=wants)
        return await server.chat(ChatCompletionRequest(messages=chat.conversation, **params))  # type: ignore[no-any-return]

    def _pause(self) -> float:
        return min(LONGEST, SPACING * self._open)

    async def check(self) -> None:
        """Return when the engine is healthy. Raises when it is dead."""
        await self.check_health()  # type: ignore[attr-defined]

    async def stats(self) -> dict[str, int]:
        """Requests in vLLM: `running` and `waiting` in its scheduler, `open` in its front end."""
        requests = self.engine._engine_client.output_processor.request_states  # noqa: SLF001  no public way
        return {"running": self._counter.running, "waiting": self._counter.waiting, "open": len(requests)}


class PoolServer(Streams, LLMServer):
    """A pool's replica: prefill and decode in one engine."""


class PrefillServer(PDPrefillServer):
    """The prefill half of a split pool: called by the decode half only."""

    _default_engine_cls = PoolEngine

    async def _start_engine(self) -> None:
        await self.engine.start()


class DecodeServer(Streams, PDDecodeServer):
    """The decode half of a split pool: asks a PrefillServer first, then generates."""


def _read(stream: ChatStream, chunks: list[Any]) -> tuple[Usage | None, list[Token]]:
    """The batch's Tokens, and its last Usage: it counts them all. Raises EngineError."""
    usage, tokens = None, []
    for chunk in chunks:
        for event in stream.feed(chunk if isinstance(chunk, str) else chunk.model_dump()):
            if isinstance(event, Usage):
                usage = event
            else:
                tokens.append(event)
    return usage, tokens


def _wants_auto_tools(params: Mapping[str, Any]) -> str:
    """The field by which the model itself shall choose whether to call a tool; empty when it shall not."""
    if not params.get("tools") or params.get("tool_choice") not in (None, "auto"):
        return ""
    return "tool_choice" if params.get("tool_choice") else "tools"


async def coalesce(source: AsyncGenerator[Any, None], pause: Callable[[], float]) -> AsyncGenerator[list[Any], None]:
    """Yield what `source` has ready, as one list: the first item and the last at once, else `pause()` seconds apart.

    source: yields items or lists of items. Closing this closes it.
    """
    ready: list[Any] = []
    wake = asyncio.Event()

    async def pump() -> None:
        async with aclosing(source):
            async for item in source:
                ready.extend(item) if isinstance(item, list) else ready.append(item)
                wake.set()

    task = asyncio.create_task(pump())
    task.add_done_callback(lambda _: wake.set())
    try:
        while True:
            await wake.wait()
            wake.clear()
            ended = task.done()
            if ready:
                batch = ready.copy()
                ready.clear()
                yield batch
            if ended:
                task.result()
                return
            if (seconds := pause()) > SHORTEST:
                await asyncio.wait([task], timeout=seconds)
    finally:
        task.cancel()
        await asyncio.wait([task])
