"""Graph: what stands in the graph. The `args` of the Serve application; a change rebuilds it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from app.config.adapters import ADAPTERS, load
from app.config.base import Strict, choose
from app.config.policy import Policy
from app.config.ports import PORTS, PortSpec


class Scale(Strict):
    """One deployment's size, by Ray Serve's own names. `num_gpus` may be a fraction of a GPU.

    graceful_shutdown_timeout_s: how long a replica that is replaced may finish what it has begun. Keep it above the
    policy's `generate.deadline`, or a redeploy cuts answers off.
    """

    num_replicas: int | Literal["auto"] = 1
    autoscaling_config: dict[str, Any] | None = None
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    num_gpus: Annotated[float, Field(ge=0)] = 0
    max_ongoing_requests: Annotated[int, Field(ge=1)] = 64
    max_queued_requests: Annotated[int, Field(ge=-1)] = 1024
    graceful_shutdown_timeout_s: Annotated[float, Field(ge=0)] = 330

    @model_validator(mode="after")
    def _one_size(self) -> Scale:
        if self.autoscaling_config and self.num_replicas not in (1, "auto"):
            msg = "set `num_replicas` or `autoscaling_config`, not both"
            raise ValueError(msg)
        return self


class Port(Strict):
    """Where a port's adapter runs. `inline` is inside the gateway's process, `deployment` has its own replicas."""

    adapter: str
    options: dict[str, Any] = Field(default_factory=dict)
    placement: Literal["deployment", "inline"] = "deployment"
    batch: Annotated[int, Field(ge=1, description="most calls scored together; 1 turns batching off")] = 8
    deployment: Scale = Scale()


class Accelerator(Strict):
    """What a vLLM replica runs on. `type` is a Ray accelerator type, e.g. `H100`."""

    kind: Literal["cpu", "gpu"] = "cpu"
    type: str | None = None
    bundles: list[dict[str, float]] | None = Field(
        default=None, description="placement group bundles, one a vLLM worker; GPU fractions allowed"
    )


class Split(Strict):
    """Prefill and decode in replicas of their own, with a KV connector between them."""

    connector: str = "NixlConnector"
    buffer_device: Literal["cpu", "cuda"] = "cuda"
    prefill: Scale = Scale()
    decode: Scale = Scale()


class VllmPool(Strict):
    """Replicas of one model behind `ray.serve.llm`. `split` turns on prefill/decode disaggregation."""

    kind: Literal["vllm"] = "vllm"
    model_id: str
    source: str = Field(description="`bundled:NAME`, `hub:ORG/NAME` or `path:FOLDER`")
    region: str = "local"
    max_context: Annotated[int, Field(ge=16)] = 2048
    engine_kwargs: dict[str, Any] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    accelerator: Accelerator = Accelerator()
    router: Literal["default", "prefix"] = "default"
    split: Split | None = None
    deployment: Scale = Scale()


class UpstreamPool(Strict):
    """An OpenAI-compatible API elsewhere. Its key is read from the environment variable `key_env`."""

    kind: Literal["upstream"]
    model_id: str
    base_url: str
    upstream_model: str
    key_env: str | None = None
    region: str = "upstream"
    max_context: Annotated[int, Field(ge=16)] = 128_000
    extensions: bool = Field(
        default=True,
        description="whether it may be sent vLLM's own parameters (`top_k`, `structured_outputs`, ...); if not, a call "
        "with one is refused",
    )


class FakePool(Strict):
    """A deterministic engine without a model, for tests, demos and benchmarks. Never in a served config."""

    kind: Literal["fake"]
    model_id: str = "fake"
    region: str = "local"
    max_context: Annotated[int, Field(ge=16)] = 2048
    options: dict[str, Any] = Field(default_factory=dict)


Pool = Annotated[VllmPool | UpstreamPool | FakePool, Field(discriminator="kind")]


class State(Strict):
    """Where durable state lives. `database`: a SQLAlchemy URL; `None` is that of the environment
    variable `PENSTOCK_DATABASE`, or SQLite in Penstock's state folder.

    files: an fsspec URL of uploaded files and batch results (`s3://bucket/folder`); `None` is the state folder.
    exports: URLs or paths of the folders below which the admin API may write audit exports; `None` is `exports` in the
    state folder.
    currency: what every price is in, as invoices name it.
    """

    database: str | None = None
    files: str | None = None
    exports: list[str] | None = None
    currency: str = "USD"
    development_key: bool = False


class WebhookTargets(Strict):
    """allow_private: whether a webhook may point to this machine or into a private network."""

    allow_private: bool = False


def _key(spec: PortSpec) -> Any:
    """A port's field in the graph: its type and its default."""
    return (Port | None, Field(default=None, description=spec.optional)) if spec.optional else (Port, ...)


if TYPE_CHECKING:
    PortKeys = Strict
else:
    PortKeys = create_model("PortKeys", __base__=Strict, **{name: _key(spec) for name, spec in PORTS.items()})


class Graph(PortKeys):
    """What stands in the graph. `args` of the Serve application. One key for each port of the table, and these."""

    pools: dict[str, Pool]
    tokenizer: str | None = Field(
        default=None, description="the model whose tokenizer counts prompts in the gateway; None estimates by length"
    )
    gateway: Scale = Scale(max_ongoing_requests=512, max_queued_requests=10_000)
    batch_worker: Scale | None = Field(
        default=None, description="replicas that run batches; None: this installation takes no batches"
    )
    state: State = State()
    webhooks: WebhookTargets = WebhookTargets()
    policy: Policy | None = Field(
        default=None, description="for Python callers; in a file the policy is the Gateway's user_config"
    )

    @property
    def ports(self) -> Mapping[str, Port]:
        """The ports in the graph, by name."""
        ports = ((name, self.configured(name)) for name in PORTS)
        return {name: self._told(name, port) for name, port in ports if port is not None}

    def configured(self, name: str) -> Port | None:
        """A port as the config has it; None where it leaves an optional one out."""
        port: Port | None = getattr(self, name)
        return port

    def _told(self, name: str, port: Port) -> Port:
        """A cache that asks whose vectors it keeps is told, so that it never reads another encoder's."""
        known = port.adapter in ADAPTERS[name] or ":" in port.adapter
        encoder = self.configured("encoder")
        if name != "cache" or not known or encoder is None:
            return port
        if "encoder" not in inspect.signature(load(name, port.adapter)).parameters:
            return port
        model = str(encoder.options.get("model", encoder.adapter))
        return port.model_copy(update={"options": {"encoder": model, **port.options}})

    @model_validator(mode="after")
    def _fits(self) -> Graph:
        for name, port in self.ports.items():
            _check_adapter(name, port)
            scale = port.deployment
            several = port.placement == "deployment" and (scale.num_replicas != 1 or scale.autoscaling_config)
            if PORTS[name].single and several:
                msg = f"{name}.deployment: keep one replica: each replica would hold an index of its own"
                raise ValueError(msg)
        if not self.pools:
            msg = "pools: name at least one"
            raise ValueError(msg)
        return self


def _check_adapter(name: str, port: Port) -> None:
    """An adapter's name and options are checked against its constructor, without loading its model."""
    if port.adapter not in ADAPTERS[name] and ":" not in port.adapter:
        raise choose(f"{name}.adapter", port.adapter, ADAPTERS[name])
    known = inspect.signature(load(name, port.adapter)).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for option in port.options:
        if option not in known:
            raise choose(f"{name}.options", option, known)
