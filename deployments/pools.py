"""Turn a vLLM pool of the config into a Serve deployment of `ray.serve.llm`.  graphs -> [build_pool] -> Gateway.

Light to import: vLLM and torch are loaded by `build_pool`, in the process that builds the graph, and by the pool's
replicas. A gateway never loads them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from app.models.catalog import resolve
from deployments.options import OFFLINE, counts

if TYPE_CHECKING:
    from ray.serve.deployment import Application
    from ray.serve.llm import LLMConfig

    from app.config import Scale, Split, VllmPool

# Every pool: no telemetry, and no log line for each ordinary event.
ENV = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
ENV_CPU = {
    # The CPU build is not named `vllm`, so that vLLM cannot tell the platform from its own package.
    "VLLM_TARGET_DEVICE": "cpu",
    # Pools share the machine's cores with each other and the judges: pinning would put them all on the same ones.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
# vLLM's samplers are compiled with C++ at their first use, even with enforce_eager: 20 s in the first caller's answer.
ENV_EAGER = {"TORCHDYNAMO_DISABLE": "1"}
ENGINE_CPU: dict[str, Any] = {
    # torch.compile takes over a minute at the first start, for about a third more speed.
    "enforce_eager": True,
    # By default vLLM takes most of the machine's memory for the KV cache. 23 kB a token in SmolLM2-135M.
    "kv_cache_memory_bytes": 256 * 2**20,
    # Only whole blocks are found again in the prefix cache; by default, on a CPU, a block is 128 tokens.
    "block_size": 32,
}
# A small model fills the free space between two fields of JSON with blanks until its tokens are used up. Compact JSON
# is only written by a backend that is named; "auto" may pick one that cannot.
STRUCTURED = {"backend": "xgrammar", "disable_any_whitespace": True}
# Seconds. A dead replica is replaced at the next check; Serve's default is 10.
HEALTH_PERIOD = 2
PREFIX_ROUTER = "deployments.router.PrefixRouter"


def build_pool(name: str, pool: VllmPool) -> Application:
    """The pool's deployment `Pool:NAME`, bound; with `split`, its decode deployment, which holds `Prefill:NAME`.

    Wrap a handle to it in `deployments.engine_client.ServeEngine`. Needs neither a GPU nor a hub.
    Raises ModelError (the source), ValueError (an engine argument, an accelerator type).
    """
    if pool.accelerator.kind == "cpu":
        os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")  # read when vLLM is first imported, here to check arguments
    from deployments.vllm_server import PoolServer  # loads vLLM

    if pool.split is not None:
        return _build_split(name, pool, pool.split)
    return _deploy(name, pool, pool.deployment, PoolServer)


def _build_split(name: str, pool: VllmPool, split: Split) -> Application:
    from deployments.vllm_server import DecodeServer, PrefillServer  # loads vLLM

    prefill = _deploy(
        name, pool, split.prefill, PrefillServer, prefix="Prefill:", engine_kwargs=_transfer(split, "kv_producer")
    )
    return _deploy(
        name,
        pool,
        split.decode,
        DecodeServer,
        engine_kwargs=_transfer(split, "kv_consumer"),
        experiments={"NIXL_SIDE_CHANNEL_PORT_BASE": 22_000},  # on one machine, not where prefill listens (20000)
        prefill_server=prefill,
    )


def _transfer(split: Split, role: str) -> dict[str, Any]:
    config = {"kv_connector": split.connector, "kv_role": role, "kv_buffer_device": split.buffer_device}
    return {"kv_transfer_config": config}


def _deploy(
    name: str,
    pool: VllmPool,
    scale: Scale,
    server: type,
    *,
    prefix: str = "Pool:",
    engine_kwargs: dict[str, Any] | None = None,
    experiments: dict[str, Any] | None = None,
    **bind: Application,
) -> Application:
    from ray.serve.llm import build_llm_deployment  # loads vLLM

    config = llm_config(name, pool, scale, engine_kwargs or {}, experiments or {})
    return build_llm_deployment(config, name_prefix=prefix, bind_kwargs=bind, deployment_cls=server)


def llm_config(
    name: str, pool: VllmPool, scale: Scale, engine_kwargs: dict[str, Any], experiments: dict[str, Any]
) -> LLMConfig:
    """The pool as `ray.serve.llm` wants it. What the pool's own `engine_kwargs` and `env` say wins over ours."""
    from ray.serve.llm import LLMConfig  # loads vLLM

    cpu = pool.accelerator.kind == "cpu"
    local = not pool.source.startswith("hub:")
    engine = {
        "max_model_len": pool.max_context,
        "enable_prompt_tokens_details": True,
        "scheduling_policy": "priority",  # or a batch's requests would stand before a person's
        **_structured(pool),
        **(ENGINE_CPU if cpu else {}),
        **engine_kwargs,
        **pool.engine_kwargs,
    }
    env = {
        **ENV,
        **(OFFLINE if local else {}),
        **(ENV_CPU if cpu else {}),
        **(ENV_EAGER if cpu and engine["enforce_eager"] else {}),
        **pool.env,
    }
    return LLMConfig(
        model_loading_config={"model_id": pool.model_id, "model_source": resolve(pool.source)},
        engine_kwargs=engine,
        accelerator_config={"kind": pool.accelerator.kind},
        accelerator_type=pool.accelerator.type,
        placement_group_config=_placement(pool, scale),
        deployment_config=_serve_options(name, pool, scale),
        # The default holds the first token back for 50 ms (ray issue 59681).
        experimental_configs={"stream_batching_interval_ms": 0, **experiments},
        callback_config={"callback_class": "deployments.vllm_server.LocalModel"} if local else {},
        runtime_env={"env_vars": env},
    )


def _structured(pool: VllmPool) -> dict[str, Any]:
    """Compact JSON; not with a reasoning parser, whose name vLLM can only write into a config that is no dict."""
    return {} if "reasoning_parser" in pool.engine_kwargs else {"structured_outputs_config": STRUCTURED}


def _placement(pool: VllmPool, scale: Scale) -> dict[str, Any] | None:
    """Resources of the engine's workers. None: a whole GPU each, ray.serve.llm's own default."""
    if pool.accelerator.bundles is not None:
        return {"bundles": pool.accelerator.bundles}
    if pool.accelerator.kind == "cpu":
        return {"bundle_per_worker": {"CPU": scale.num_cpus}}
    return {"bundle_per_worker": {"GPU": scale.num_gpus}} if scale.num_gpus else None


def _serve_options(name: str, pool: VllmPool, scale: Scale) -> dict[str, Any]:
    # On a CPU the replica and its engine are one resource, asked for once, in the placement group.
    apart = pool.accelerator.kind == "gpu" or pool.accelerator.bundles is not None
    options: dict[str, Any] = {
        "name": name,
        **counts(scale),
        "health_check_period_s": HEALTH_PERIOD,
        "ray_actor_options": {"num_cpus": scale.num_cpus if apart else 0},
    }
    if pool.router == "prefix":
        options["request_router_config"] = {"request_router_class": PREFIX_ROUTER}
    return options
