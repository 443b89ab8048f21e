"""What our code uses of Ray and vLLM that they do not promise to keep: one test a name, read before an upgrade.

deployments/vllm_server.py, deployments/router.py, deployments/engine_client.py, deployments/pools.py, graphs/run.py.
Each test says which of our lines breaks; the tests of a running graph say it later and less clearly.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROMISED = {"ray", "ray.serve", "ray.serve.llm", "ray.serve.handle", "ray.serve.exceptions", "ray.exceptions"}
"""Modules that Ray documents."""


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(of: Any) -> str:
    """Of a function, or of a class and what it inherits from Ray."""
    kinds = [kind for kind in getattr(of, "__mro__", (of,)) if kind.__module__.split(".")[0] in {"ray", "vllm"}]
    return "".join(map(inspect.getsource, kinds))


# -- modules and names that are imported ----------------------------------------------------------


def private_imports() -> Iterator[tuple[str, str]]:
    """Every name that `deployments` and `graphs` import from a module that is not promised."""
    for file in sorted((*(ROOT / "deployments").glob("*.py"), *(ROOT / "graphs").glob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            if module.split(".")[0] in {"ray", "vllm"}:
                names = [name.name for name in node.names]  # type: ignore[attr-defined]
                yield from ((module, name) for name in names if module not in PROMISED or name.startswith("_"))


@pytest.mark.parametrize(("module", "name"), sorted(set(private_imports())), ids=str)
def test_what_is_imported_is_there(module: str, name: str) -> None:
    assert hasattr(import_module(module), name), f"{module}.{name} is gone"


def test_the_class_that_the_config_names_as_callback_is_there() -> None:
    from deployments import pools

    named = {
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(pools)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("deployments.")
    }
    assert named
    for path in named:
        module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
        assert hasattr(import_module(module), name), path


# -- deployments/engine_client.py -----------------------------------------------------------------


def test_a_requests_context_can_be_set() -> None:
    from ray.serve.context import _get_serve_request_context, _set_request_context

    assert "request_id" in parameters(_set_request_context)
    _set_request_context(request_id="call-7")
    assert "call-7" == _get_serve_request_context().request_id


# -- deployments/router.py ------------------------------------------------------------------------


def test_the_prefix_router_reads_the_text_of_a_request_by_the_method_that_ours_replaces() -> None:
    from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import PrefixCacheAffinityRouter

    assert ["self", "pending_request"] == parameters(PrefixCacheAffinityRouter._extract_text_from_request)
    assert any(
        "._extract_text_from_request(" in source(method)
        for name, method in inspect.getmembers(PrefixCacheAffinityRouter, inspect.isfunction)
        if name != "_extract_text_from_request"
    )


# -- deployments/vllm_server.py -------------------------------------------------------------------


def test_a_callback_runs_before_a_node_is_made_ready_and_can_put_that_off() -> None:
    from ray.llm._internal.common.callbacks.base import CallbackBase, CallbackCtx

    assert ["self"] == parameters(CallbackBase.on_before_node_init)
    assert "run_init_node" in CallbackCtx.__dataclass_fields__


def test_the_engine_prepares_its_config_by_the_method_that_ours_replaces() -> None:
    from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine

    assert ["self", "callback_ctx"] == parameters(VLLMEngine._prepare_engine_config)
    returned = [
        node.value
        for node in ast.walk(ast.parse(dedent(source(VLLMEngine._prepare_engine_config))))
        if isinstance(node, ast.Return)
    ]
    assert [3] == [len(value.elts) for value in returned if isinstance(value, ast.Tuple)]


def test_a_cpus_worker_can_be_kept_in_the_engines_process() -> None:
    from vllm.config import ParallelConfig

    assert {"distributed_executor_backend", "world_size"} <= {*ParallelConfig.__dataclass_fields__}


def test_the_engine_keeps_vllms_client_where_ours_looks_for_its_counts() -> None:
    from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.output_processor import OutputProcessor
    from vllm.v1.metrics.loggers import StatLoggerManager

    assert "self._engine_client" in source(VLLMEngine)
    assert "self.logger_manager" in source(AsyncLLM)
    assert "self.output_processor" in source(AsyncLLM)
    assert "self.stat_loggers" in source(StatLoggerManager)
    assert "self.request_states" in source(OutputProcessor)


def test_the_loggers_are_told_of_every_step_as_ours_expects() -> None:
    from vllm.v1.metrics.loggers import AggregateStatLoggerBase, StatLoggerManager
    from vllm.v1.metrics.stats import SchedulerStats

    assert {"num_running_reqs", "num_waiting_reqs"} <= set(SchedulerStats.__dataclass_fields__)
    from deployments.vllm_server import Counter

    assert issubclass(Counter, AggregateStatLoggerBase)
    assert {"record", "log_engine_initialized"} >= set(AggregateStatLoggerBase.__abstractmethods__) - {"__init__"}
    assert ".record(" in source(StatLoggerManager.record)


def test_the_server_starts_its_engine_by_the_method_that_ours_replaces() -> None:
    from ray.serve.llm import LLMServer

    assert ["self"] == parameters(LLMServer._start_engine)
    assert {"_default_engine_cls", "chat", "completions", "check_health"} <= set(dir(LLMServer))
    assert "self._llm_config" in source(LLMServer)


@pytest.mark.parametrize("kind", ["PDPrefillServer", "PDDecodeServer"])
def test_the_halves_of_a_split_pool_are_servers_too(kind: str) -> None:
    server = getattr(import_module("ray.serve.llm.deployment"), kind)
    assert {"_start_engine", "_default_engine_cls", "chat", "completions", "check_health"} <= set(dir(server))
    assert "self._llm_config" in source(server)
    assert ["self"] == parameters(server._start_engine)


# -- deployments/pools.py, graphs/run.py ----------------------------------------------------------


def test_a_pool_is_built_with_a_server_class_and_a_name_of_ours() -> None:
    from ray.serve.llm import build_llm_deployment

    assert {"name_prefix", "bind_kwargs", "deployment_cls"} <= set(parameters(build_llm_deployment))


def test_serve_run_can_be_called_as_a_command_line() -> None:
    from ray.serve.scripts import cli

    assert "run" in cli.commands
