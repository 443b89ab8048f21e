"""A vLLM pool behind Serve is an Engine: real Serve, real vLLM, the bundled model, on a CPU.

What the model says is compared with transformers in the same precision, never with a word: in bf16 a processor's
rounding decides between tokens that are nearly as likely.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle
from transformers import AutoModelForCausalLM, AutoTokenizer

from app.config import Accelerator, Scale, Split, VllmPool
from app.config import Generate as GenerateSettings
from app.core.call import Call
from app.core.events import Failure, Message, Prompt, Token, Usage
from app.core.ports import EngineError, Generation
from app.models import catalog as models
from app.pipeline.stages.generate import Generate
from app.routing.catalog import Health, ModelCatalog
from app.runtime.prepare import prepare
from deployments.engine_client import Chat, ServeEngine, encode
from deployments.pools import PREFIX_ROUTER, build_pool
from tests.kit import WHO, graph, policy

ROOT = Path(__file__).parents[2]
MODEL = "bundled:smollm2-135m-instruct"
POOL = VllmPool(
    model_id="smollm2",
    source=MODEL,
    max_context=1024,
    engine_kwargs={
        "max_num_seqs": 8,
        "enable_auto_tool_choice": True,
        "tool_call_parser": "hermes",
        "dtype": "float32",
    },
    deployment=Scale(num_cpus=0.2),
)
FRANCE = "What is the capital of France?"
calls = count()


class Reference:
    """The pool's model and precision in transformers, which take the likeliest token."""

    def __init__(self) -> None:
        folder = models.resolve(MODEL)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")

    def answer(self, question: str, tokens: int) -> str:
        """To a question of the user, at most so many tokens."""
        return self._said(self.chat(question), tokens)

    def continuation(self, raw: str, tokens: int) -> str:
        """Of a text as it stands."""
        return self._said(self._tokenizer(raw).input_ids, tokens)

    def chat(self, question: str) -> list[int]:
        """The prompt's tokens."""
        messages = [{"role": "user", "content": question}]
        ids: list[int] = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        return ids

    def _said(self, prompt: list[int], tokens: int) -> str:
        import torch

        answer = self._model.generate(torch.tensor([prompt]), max_new_tokens=tokens, do_sample=False)
        return str(self._tokenizer.decode(answer[0, len(prompt) :], skip_special_tokens=True))


@pytest.fixture(scope="module")
def reference(cluster: None) -> Reference:
    return Reference()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    prepare([MODEL])
    ray.init("local", num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    serve.start(proxy_location="Disabled")  # nothing here goes through HTTP, and the port may be another's
    yield
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def handle(cluster: None) -> Iterator[DeploymentHandle]:
    yield serve.run(build_pool("small", POOL), name="pool", route_prefix=None)
    serve.delete("pool")


@pytest.fixture
def engine(handle: DeploymentHandle) -> ServeEngine:
    return ServeEngine(handle)


def ask(text: str = "Tell me a story.", salt: str | None = None, **params: Any) -> Generation:
    return Generation(f"call-{next(calls)}", (Message("user", text),), {"temperature": 0, **params}, salt)


async def collect(engine: ServeEngine, request: Generation) -> list[Token | Usage]:
    return [event async for event in engine.generate(request)]


async def failure(engine: ServeEngine, request: Generation) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await collect(engine, request)
    return caught.value


def text(events: list[Token | Usage], choice: int = 0) -> str:
    return "".join(e.text for e in events if isinstance(e, Token) and e.choice == choice)


async def idle(handle: DeploymentHandle) -> dict[str, int]:
    """The engine's counts once nothing runs any more, or after five seconds: a busy machine answers late."""
    async with asyncio.timeout(30):
        for _ in range(100):
            stats: dict[str, int] = await handle.stats.remote()
            if not any(stats.values()):
                break
            await asyncio.sleep(0.05)
        return stats


async def busy(handle: DeploymentHandle, **counts: int) -> None:
    """Wait until the engine counts so many requests, by name as `stats` has them."""
    async with asyncio.timeout(60):
        while counts.items() - (await handle.stats.remote()).items():
            await asyncio.sleep(0.005)


async def endless(engine: ServeEngine) -> AsyncIterator[Token | Usage]:
    async with aclosing(engine.generate(ask(max_tokens=900, ignore_eos=True))) as stream:
        async for event in stream:
            yield event


async def test_it_answers_as_transformers_does_in_more_than_one_piece(
    engine: ServeEngine, reference: Reference
) -> None:
    events = await collect(engine, ask(FRANCE, max_tokens=20))
    assert reference.answer(FRANCE, 20) == text(events)
    assert sum(isinstance(e, Token) for e in events) > 3
    assert [e.finish_reason for e in events if isinstance(e, Token)][-1] == "stop"


async def test_usage_is_exact_and_last(engine: ServeEngine, reference: Reference) -> None:
    prompt = len(reference.chat("Count to nine."))
    events = await collect(engine, ask("Count to nine.", max_tokens=17, ignore_eos=True))
    assert events[-1] == Usage(prompt, 17, 0)


async def test_a_token_is_counted_before_it_is_seen(engine: ServeEngine) -> None:
    counted = seen = 0
    for event in await collect(engine, ask(max_tokens=12, ignore_eos=True)):
        counted, seen = (event.completion, seen) if isinstance(event, Usage) else (counted, seen + bool(event.text))
        assert counted >= seen


async def test_every_choice_streams_and_all_are_counted(engine: ServeEngine) -> None:
    events = await collect(engine, ask(n=2, max_tokens=8, ignore_eos=True, temperature=1.0, seed=1))
    assert text(events, 0)
    assert text(events, 1)
    assert events[-1].completion == 16  # type: ignore[union-attr]


async def test_logprobs_come_with_their_token(engine: ServeEngine) -> None:
    events = await collect(engine, ask(max_tokens=4, ignore_eos=True, logprobs=True, top_logprobs=2))
    entries = [entry for e in events if isinstance(e, Token) for entry in e.logprobs or ()]
    assert len(entries) == 4
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)


async def test_a_tenants_prefix_is_cached_for_that_tenant_only(engine: ServeEngine) -> None:
    long = "The fox and the hound. " * 40
    cached = []
    for salt in ("ann", "ann", "bob"):
        events = await collect(engine, ask(long, salt, max_tokens=1))
        cached.append(events[-1].cached)  # type: ignore[union-attr]
    assert cached[0] == cached[2] == 0
    assert cached[1] > 100


async def test_closing_the_stream_stops_the_engine(engine: ServeEngine, handle: DeploymentHandle) -> None:
    async with aclosing(endless(engine)) as stream:  # type: ignore[type-var]
        async for event in stream:
            if isinstance(event, Token):
                break
        assert (await handle.stats.remote())["running"] == 1
    assert await idle(handle) == {"running": 0, "waiting": 0, "open": 0}


async def test_cancelling_the_reader_stops_the_engine(engine: ServeEngine, handle: DeploymentHandle) -> None:
    talks = asyncio.Event()

    async def read() -> None:
        async for _ in endless(engine):
            talks.set()

    # before it is sent, once it is there, in the middle
    for moment in (lambda: asyncio.sleep(0), lambda: busy(handle, open=1), talks.wait):
        talks.clear()
        task = asyncio.create_task(read())
        async with asyncio.timeout(60):
            await moment()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await idle(handle) == {"running": 0, "waiting": 0, "open": 0}


async def test_a_prompt_too_long_is_the_callers_fault(engine: ServeEngine) -> None:
    error = await failure(engine, ask("fox " * 2000))
    assert (error.code, error.retryable) == ("context_length_exceeded", False)


async def test_a_burst_leaves_the_pool_at_once_then_in_larger_pieces_and_whole() -> None:
    from deployments.vllm_server import coalesce  # loads vLLM

    async def burst() -> AsyncGenerator[list[int], None]:
        for number in range(20):
            yield [number]
            await asyncio.sleep(0)

    # the pause is over when the burst is: nothing here depends on how fast the machine is
    batches = [batch async for batch in coalesce(burst(), lambda: 60)]
    assert batches[0] == [0]
    assert len(batches) == 2
    assert [number for batch in batches for number in batch] == list(range(20))


async def test_what_breaks_in_the_engine_passes_through_after_what_it_said() -> None:
    from deployments.vllm_server import coalesce  # loads vLLM

    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise EngineError("gone", retryable=True)

    batches = coalesce(broken(), lambda: 0.0)
    assert await anext(batches) == [1]
    with pytest.raises(EngineError, match="gone"):
        await anext(batches)


SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("weather", "hotels")]


def tool_calls(events: list[Token | Usage]) -> dict[int, tuple[str | None, str | None, str]]:
    """Index -> id, name and arguments, put together from the pieces."""
    calls: dict[int, tuple[str | None, str | None, str]] = {}
    for event in events:
        if isinstance(event, Token) and (piece := event.tool):
            known = calls.get(piece.index, (None, None, ""))
            calls[piece.index] = (known[0] or piece.id, known[1] or piece.name, known[2] + piece.arguments)
    return calls


def finish(events: list[Token | Usage]) -> str | None:
    return [e.finish_reason for e in events if isinstance(e, Token)][-1]


NAMED = {"type": "function", "function": {"name": "hotels"}}


@pytest.mark.parametrize(("choice", "names"), [("required", {"weather", "hotels"}), (NAMED, {"hotels"})], ids=str)
async def test_a_tool_that_must_be_called_streams_its_id_its_name_and_valid_arguments(
    engine: ServeEngine, choice: Any, names: set[str]
) -> None:
    question = "How is the weather in Paris for the next 3 days?"
    events = await collect(engine, ask(question, tools=TOOLS, tool_choice=choice, max_tokens=120))
    calls = tool_calls(events)
    assert calls
    for index, (id_, name, arguments) in enumerate(calls[at] for at in sorted(calls)):
        assert index in calls
        assert id_
        assert name in names
        said = json.loads(arguments)
        assert said["city"] in ("Paris", "Rome")
        assert 1 <= said["days"] <= 9
    assert text(events) == ""
    assert finish(events) == "tool_calls"  # of a named function OpenAI says `stop`, and agents end there
    assert sum(isinstance(e, Token) and e.tool is not None for e in events) > 3


@pytest.mark.parametrize("choice", ["none", "auto"])
async def test_a_tool_that_need_not_be_called_leaves_the_answer_a_text(engine: ServeEngine, choice: str) -> None:
    events = await collect(engine, ask(FRANCE, tools=TOOLS, tool_choice=choice, max_tokens=9))
    assert text(events)
    assert tool_calls(events) == {}


async def test_an_answer_by_a_json_schema_is_valid(engine: ServeEngine) -> None:
    format_ = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    events = await collect(engine, ask("Plan a trip.", response_format=format_, max_tokens=60))
    assert {"city", "days"} == set(json.loads(text(events)))


async def test_a_raw_prompt_is_continued_as_it_stands(engine: ServeEngine, reference: Reference) -> None:
    begun = "One, two, three, four, five, six,"
    events = await collect(engine, replace(ask(begun, max_tokens=8), raw=True))
    assert reference.continuation(begun, 8) == text(events)
    assert finish(events) == "length"
    assert events[-1].completion == 8  # type: ignore[union-attr]
    assert 5 < events[-1].prompt < 20  # type: ignore[union-attr]


async def test_a_resumed_answer_goes_on_where_it_stopped(engine: ServeEngine) -> None:
    request = ask(FRANCE, max_tokens=40)
    events = await collect(engine, request)
    whole = text(events)
    given = whole[: whole.index(" ", len(whole) // 3)]
    resumed = replace(request, messages=(*request.messages, Message("assistant", given)), resume=True)
    rest = await collect(engine, replace(resumed, call_id="call-resumed"))
    assert whole == (given + text(rest))[: len(whole)]
    assert len(text(rest)) > len(whole) // 3
    assert finish(events) == finish(rest)


async def test_a_request_in_the_background_is_answered_after_one_that_came_later(cluster: None) -> None:
    # One at a time, so that there is a queue to stand in.
    narrow = POOL.model_copy(update={"engine_kwargs": {"max_num_seqs": 1}})
    handle = serve.run(build_pool("narrow", narrow), name="narrow", route_prefix=None)
    engine, order = ServeEngine(handle), []

    async def run(name: str, *, background: bool = False) -> None:
        await collect(engine, replace(ask(name, max_tokens=80, ignore_eos=True), background=background))
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(run("first"))
        await busy(handle, running=1)
        group.create_task(run("batch", background=True))
        await busy(handle, running=1, waiting=1)
        group.create_task(run("person"))
        await busy(handle, open=3)
    error = await failure(engine, ask(tools=TOOLS, tool_choice="auto"))
    serve.delete("narrow")
    assert order == ["first", "person", "batch"]
    assert (error.param, error.retryable) == ("tool_choice", False)


BAD: list[dict[str, Any]] = [{"temperature": 9}, {"max_tokens": -3}, {"stop": 5}, {"response_format": {"type": "x"}}]


@pytest.mark.parametrize("params", BAD, ids=str)
async def test_a_bad_parameter_is_the_callers_fault_in_a_plain_sentence(
    engine: ServeEngine, params: dict[str, Any]
) -> None:
    error = await failure(engine, ask(**params))
    assert not error.retryable
    assert not any(word in error.message for word in ("Traceback", "Error", "vllm", "pydantic"))


async def test_fields_that_are_not_a_callers_to_set_are_left_out(engine: ServeEngine) -> None:
    events = await collect(engine, ask(max_tokens=2, chat_template="{{ 1 / 0 }}", seed=None))
    assert text(events)


async def test_a_healthy_pool_is_ready(engine: ServeEngine) -> None:
    assert await engine.ready()


def test_a_gateway_loads_neither_vllm_nor_torch() -> None:
    code = (
        "import sys, deployments.clients, deployments.engine_client, deployments.pools, deployments.router;"
        "print({'vllm', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.usefixtures("cluster")
def test_a_gpu_pool_is_built_without_a_gpu_and_without_a_hub() -> None:
    pool = VllmPool(
        model_id="mistral",
        source="hub:mistralai/Mistral-7B-Instruct-v0.3",
        accelerator=Accelerator(kind="gpu", type="H100", bundles=[{"CPU": 1, "GPU": 0.5}]),
        router="prefix",
        split=Split(prefill=Scale(num_cpus=1), decode=Scale(num_replicas=2, num_cpus=1)),
    )
    options = build_pool("medium", pool)._bound_deployment._replica_config
    assert options.placement_group_bundles == [{"CPU": 2, "GPU": 0.5, "accelerator_type:H100": 0.001}]


@pytest.mark.usefixtures("cluster")
def test_an_engine_argument_that_vllm_does_not_know_is_refused_before_a_replica_starts() -> None:
    with pytest.raises(ValueError, match="max_num_seqz"):
        build_pool("small", POOL.model_copy(update={"engine_kwargs": {"max_num_seqz": 8}}))


async def test_a_killed_replica_is_another_pools_chance_and_comes_back(
    engine: ServeEngine, handle: DeploymentHandle
) -> None:
    async def read() -> None:
        async for event in endless(engine):
            if isinstance(event, Token):
                _kill("Pool:small")

    with pytest.raises(EngineError) as caught:
        await read()
    assert caught.value.retryable
    assert not await engine.ready()
    deadline = time.monotonic() + 200
    while not await engine.ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
    assert text(await collect(engine, ask(max_tokens=3)))


async def test_a_replica_killed_in_the_middle_is_not_seen_in_the_answer(engine: ServeEngine) -> None:
    catalog = ModelCatalog.of(graph(), policy())
    stage = Generate({"a": engine}, catalog, Health(1.0), GenerateSettings(first_token=200))
    prompt = Prompt((Message("user", "Tell me a story."),), params={"temperature": 0, "max_tokens": 300})
    whole, ends = await _run_stage(stage, prompt, kill_after=None)
    call = Call("call-killed", WHO, time.monotonic() + 250, plan=("a",), max_completion=300)
    pieces, finish_reasons = await _run_stage(stage, prompt, kill_after=20, call=call)
    assert pieces[:40] == whole[:40]
    assert finish_reasons == ends
    assert call.trail["generate"]["recovered"] == 1
    assert call.usage.completion == 300 or ends == ["stop"]
    assert len(whole) * 0.5 < len(pieces) < len(whole) * 2


async def _run_stage(
    stage: Generate, prompt: Prompt, kill_after: int | None, call: Call | None = None
) -> tuple[str, list[str]]:
    """The answer's text and finish reasons; its replica is killed after so many Tokens."""
    call = call or Call(f"call-{next(calls)}", WHO, time.monotonic() + 60, plan=("a",), max_completion=300)

    async def source() -> AsyncGenerator[Any, None]:
        yield prompt

    said, ends, seen = "", [], 0
    async with aclosing(stage(call, source())) as events:
        async for event in events:
            assert not isinstance(event, Failure), event.error.message
            if isinstance(event, Token):
                said, seen = said + event.text, seen + 1
                ends += [event.finish_reason] if event.finish_reason else []
                if seen == kill_after:
                    _kill("Pool:small")
    return said, ends


@serve.deployment(
    ray_actor_options={"num_cpus": 0}, request_router_config=RequestRouterConfig(request_router_class=PREFIX_ROUTER)
)
class Parrot:
    """A pool without a model that says which replica it is."""

    async def generate(self, chat: Chat) -> AsyncIterator[bytes]:
        yield encode(Usage(1, 1, 0), [Token(serve.get_replica_context().replica_id.unique_id)])


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Crowd:
    """Many calls of one request, as a batch worker makes them."""

    def __init__(self, pool: DeploymentHandle) -> None:
        self._engine = ServeEngine(pool)

    async def ask(self, texts: list[str]) -> list[str]:
        async with asyncio.timeout(20):
            return [text(events) for events in await asyncio.gather(*(collect(self._engine, ask(t)) for t in texts))]


@pytest.mark.usefixtures("cluster")
async def test_the_prefix_router_keeps_a_prefix_together_and_loses_no_call() -> None:
    crowd = serve.run(Crowd.bind(Parrot.options(num_replicas=2).bind()), name="crowd", route_prefix=None)
    answers = [await crowd.ask.remote([prefix * 50]) for prefix in ("one ", "two ", "one ", "two ")]
    together = await crowd.ask.remote(["", "", *["one " * 50] * 8])
    serve.delete("crowd")
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]
    assert len(together) == 10


def _kill(deployment: str) -> None:
    """Kill the deployment's replicas as the kernel would, without a good-bye."""
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["name"].startswith("SERVE_REPLICA") and deployment in actor["name"]:
            ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
async def test_a_split_pool_prefills_in_one_engine_and_decodes_in_another(reference: Reference) -> None:
    half = Scale(num_cpus=0.2)
    split = Split(buffer_device="cpu", prefill=half, decode=half)
    handle = serve.run(build_pool("split", POOL.model_copy(update={"split": split})), name="split", route_prefix=None)
    engine = ServeEngine(handle)
    await collect(engine, ask(max_tokens=1))  # prefill and decode shake hands at the first call
    long = FRANCE + " Think well." * 60
    events = await collect(engine, ask(long, max_tokens=20))
    usage = events[-1]
    assert reference.answer(long, 20) == text(events)
    assert isinstance(usage, Usage)
    assert usage.cached >= usage.prompt - 1  # the decode engine computed none of the prompt itself
    async with aclosing(endless(engine)) as stream:  # type: ignore[type-var]
        async for event in stream:
            if isinstance(event, Token):
                break
    assert await idle(handle) == {"running": 0, "waiting": 0, "open": 0}
    error = await failure(engine, ask("fox " * 2000))
    assert (error.code, error.retryable) == ("context_length_exceeded", False)
    serve.delete("split")
