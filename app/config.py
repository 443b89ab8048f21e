"""The configuration: what stands in the graph (Graph) and how it decides (Policy). Strict and frozen.

A config file is a Ray Serve config file, so that `serve run FILE` and `serve deploy FILE` need nothing else:

    applications:
      - import_path: graphs.chat:build
        args: {...}                     # Graph: models, placements, pools. A change rebuilds the graph.
        deployments:
          - name: Gateway
            user_config: {...}          # Policy: rooms, thresholds, tiers, prices. Reaches running replicas.

Unknown keys are errors, and what does not fit together is refused before any replica starts (`check`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.registry import ADAPTERS, load

ROOMS = ("admit", "scrub", "guard", "recall", "route", "generate", "moderate", "remember", "restore", "settle")


T = TypeVar("T", bound="Strict")


class ConfigError(ValueError):
    """A configuration that cannot run: one line a fault, each naming the key and the choices."""


class Strict(BaseModel):
    """Unknown keys are errors; nothing changes after load."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def choose(what: str, got: str, choices: Iterable[str]) -> ConfigError:
    """The error for a name that is not one of `choices`."""
    return ConfigError(f"{what}: `{got}` is not known: choose from {', '.join(sorted(choices)) or '(none)'}")


# -- the graph: what restarts when it changes ---------------------------------------------------


class Scale(Strict):
    """One deployment's size, by Ray Serve's own names. `num_gpus` may be a fraction of a GPU."""

    num_replicas: int | Literal["auto"] = 1
    autoscaling_config: dict[str, Any] | None = None
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
    num_gpus: Annotated[float, Field(ge=0)] = 0
    max_ongoing_requests: Annotated[int, Field(ge=1)] = 64
    max_queued_requests: Annotated[int, Field(ge=-1)] = 1024

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


class Split(Strict):
    """Prefill and decode in replicas of their own, with a KV connector between them."""

    connector: str = "NixlConnector"
    buffer_device: Literal["cpu", "cuda"] = "cuda"
    prefill: Scale = Scale()
    decode: Scale = Scale()


class UpstreamPool(Strict):
    """An OpenAI-compatible API elsewhere. Its key is read from the environment variable `key_env`."""

    kind: Literal["upstream"]
    model_id: str
    base_url: str
    upstream_model: str
    key_env: str | None = None
    region: str = "upstream"
    max_context: Annotated[int, Field(ge=16)] = 128_000


class FakePool(Strict):
    """A deterministic engine without a model, for tests, demos and benchmarks. Never in a served config."""

    kind: Literal["fake"]
    model_id: str = "fake"
    region: str = "local"
    max_context: Annotated[int, Field(ge=16)] = 2048
    options: dict[str, Any] = Field(default_factory=dict)


Pool = Annotated[VllmPool | UpstreamPool | FakePool, Field(discriminator="kind")]


class State(Strict):
    """Where durable state lives. `database`: a SQLAlchemy URL; `None` is SQLite in Penstock's state folder."""

    database: str | None = None
    development_key: bool = False


class Graph(Strict):
    """What stands in the graph. `args` of the Serve application."""

    encoder: Port
    scrubber: Port
    guard: Port
    complexity: Port
    moderator: Port
    cache: Port
    pools: dict[str, Pool]
    tokenizer: str | None = Field(
        default=None, description="the model whose tokenizer counts prompts in the gateway; None estimates by length"
    )
    gateway: Scale = Scale(max_ongoing_requests=512)
    state: State = State()
    policy: Policy | None = Field(
        default=None, description="for Python callers; in a file the policy is the Gateway's user_config"
    )

    @property
    def ports(self) -> Mapping[str, Port]:
        """The six ports by name."""
        return {name: getattr(self, name) for name in ADAPTERS}

    @model_validator(mode="after")
    def _fits(self) -> Graph:
        for name, port in self.ports.items():
            _check_adapter(name, port)
        scale = self.cache.deployment
        if self.cache.placement == "deployment" and (scale.num_replicas != 1 or scale.autoscaling_config):
            msg = "cache.deployment: keep one replica: each replica would hold an index of its own"
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


# -- the policy: what reaches running replicas --------------------------------------------------


class Prices(Strict):
    """Money for 1M tokens. `hit`: the share of the full price that a semantic-cache hit costs."""

    input: Annotated[Decimal, Field(ge=0)]
    cached_input: Annotated[Decimal, Field(ge=0)]
    output: Annotated[Decimal, Field(ge=0)]
    hit: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.1")


class Tier(Strict):
    """A class of models. `auto` takes it from complexity `above` up. `pools`: name -> weight, tried by health."""

    above: Annotated[float, Field(ge=0, le=1)]
    pools: dict[str, Annotated[float, Field(gt=0)]]
    price: Prices


class Admit(Strict):
    """Who may call. `max_completion_tokens`: the worst case reserved where a call names none."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 4_000_000
    max_completion_tokens: Annotated[int, Field(ge=1)] = 1024


class Scrub(Strict):
    """Which personal data becomes a placeholder, from which score up. `types`: None is all the scrubber finds."""

    types: list[str] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


class Guard(Strict):
    """`alongside`: scores while the engine already generates, and holds the first Token back until it has."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    mode: Literal["before", "alongside"] = "before"


class Recall(Strict):
    """A stored answer serves from this cosine up, for `ttl` seconds."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.95
    ttl: Annotated[float, Field(gt=0)] = 3600


class Generate(Strict):
    """Seconds. `first_token`: a pool that stays silent this long is passed over. `cooldown`: then rests."""

    deadline: Annotated[float, Field(gt=0)] = 300
    first_token: Annotated[float, Field(gt=0)] = 60
    cooldown: Annotated[float, Field(ge=0)] = 10


class Moderate(Strict):
    """Scores are the classifier's labels; a label without a threshold never stops an answer.

    window: characters scored together. stride: so many unscored characters call for a score; delay: so do
    fewer, after this many seconds. Text leaves only once a window that contains it was scored.
    """

    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=lambda: {"toxicity": 0.8})
    window: Annotated[int, Field(ge=32)] = 400
    stride: Annotated[int, Field(ge=1)] = 48
    delay: Annotated[float, Field(gt=0)] = 0.15

    @model_validator(mode="after")
    def _window_holds_stride(self) -> Moderate:
        if self.stride >= self.window:
            msg = f"stride: {self.stride} must be below window ({self.window}), or no window overlaps the last"
            raise ValueError(msg)
        return self


class Policy(Strict):
    """How the graph decides. The Gateway's `user_config`: a change reaches running replicas, nothing restarts."""

    rooms: list[str] = list(ROOMS)
    admit: Admit = Admit()
    scrub: Scrub = Scrub()
    guard: Guard = Guard()
    recall: Recall = Recall()
    generate: Generate = Generate()
    moderate: Moderate = Moderate()
    tiers: dict[str, Tier]
    price_list: str = "default"

    @model_validator(mode="after")
    def _legal(self) -> Policy:
        check_order(self.rooms)
        if not self.tiers:
            msg = "tiers: name at least one"
            raise ValueError(msg)
        if "auto" in self.tiers:
            msg = "tiers: `auto` is the router's own name; call the tier something else"
            raise ValueError(msg)
        if min(tier.above for tier in self.tiers.values()) > 0:
            msg = "tiers: one must have `above: 0`, or the simplest prompts have nowhere to go"
            raise ValueError(msg)
        return self


# -- the order of the rooms ---------------------------------------------------------------------

REQUIRED = {
    "admit": "every call has an owner and a limit",
    "route": "a prompt needs a pool",
    "generate": "somebody must answer",
    "settle": "every call is billed exactly once",
}
PAIRS = {
    "scrub": ("restore", "or the caller would read placeholders"),
    "restore": ("scrub", "or there is nothing to restore"),
    "recall": ("remember", "or the cache would stay empty"),
    "remember": ("recall", "or nobody would read what is stored"),
}
BEFORE = (
    ("scrub", "recall", "only placeholders are looked up"),
    ("scrub", "generate", "no personal data reaches an engine"),
    ("guard", "recall", "a refused prompt must not be answered from the cache"),
    ("guard", "generate", "a refused prompt must not reach an engine"),
    ("recall", "generate", "a hit must spare the engine"),
    ("route", "generate", "a prompt needs a pool"),
    ("generate", "moderate", "what is moderated must exist"),
    ("moderate", "remember", "only safe text is cached"),
    ("generate", "remember", "what is stored must exist"),
    ("remember", "restore", "only placeholders are cached"),
    ("moderate", "restore", "a placeholder must not be split by the moderator's window"),
    ("generate", "restore", "what is restored must exist"),
)


def check_order(rooms: list[str]) -> None:
    """Refuse an order that breaks a rule, naming the rule. Raises ConfigError."""
    for room in rooms:
        if room not in ROOMS:
            raise choose("rooms", room, ROOMS)
        if rooms.count(room) > 1:
            msg = f"rooms: `{room}` stands twice"
            raise ConfigError(msg)
    for room, why in REQUIRED.items():
        if room not in rooms:
            msg = f"rooms: `{room}` cannot be left out: {why}"
            raise ConfigError(msg)
    for room, (other, why) in PAIRS.items():
        if room in rooms and other not in rooms:
            msg = f"rooms: `{room}` needs `{other}`, {why}"
            raise ConfigError(msg)
    if rooms[0] != "admit" or rooms[-1] != "settle":
        msg = "rooms: `admit` is the first and `settle` the last: what comes between is reserved, then billed"
        raise ConfigError(msg)
    for first, then, why in BEFORE:
        if first in rooms and then in rooms and rooms.index(first) > rooms.index(then):
            msg = f"rooms: `{first}` must stand before `{then}`: {why}"
            raise ConfigError(msg)


# -- loading ------------------------------------------------------------------------------------


class Config(Strict):
    """A whole config file, checked: the graph, the policy, and that they fit together."""

    graph: Graph
    policy: Policy


def check(graph: Graph, policy: Policy) -> None:
    """What only graph and policy together can tell. Raises ConfigError."""
    for name, tier in policy.tiers.items():
        if not tier.pools:
            msg = f"tiers.{name}.pools: name at least one of {', '.join(sorted(graph.pools))}"
            raise ConfigError(msg)
        for pool in tier.pools:
            if pool not in graph.pools:
                raise choose(f"tiers.{name}.pools", pool, graph.pools)
    for name, pool in graph.pools.items():
        if pool.model_id in policy.tiers or pool.model_id == "auto":
            msg = f"pools.{name}.model_id: `{pool.model_id}` is also a tier's name; a caller could mean either"
            raise ConfigError(msg)


def parse_graph(args: Mapping[str, Any]) -> Graph:
    """The Serve application's args as a Graph. Raises ConfigError."""
    return _parse(Graph, args, "args")


def parse_policy(user_config: Mapping[str, Any]) -> Policy:
    """The Gateway's user_config as a Policy. Raises ConfigError."""
    return _parse(Policy, user_config, "user_config")


def load_file(path: str | Path) -> Config:
    """Read and check a Serve config file that holds a Penstock application. Raises ConfigError."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise ConfigError(msg) from error
    except yaml.YAMLError as error:
        msg = f"{path}: not valid YAML: {error}"
        raise ConfigError(msg) from error
    app = application(document, str(path))
    graph = parse_graph(app.get("args") or {})
    gateway = next((d for d in app.get("deployments") or [] if d.get("name") == "Gateway"), {})
    if not gateway.get("user_config"):
        msg = f"{path}: no `user_config` under the deployment `Gateway`: that is where the policy stands"
        raise ConfigError(msg)
    policy = parse_policy(gateway["user_config"])
    check(graph, policy)
    return Config(graph=graph, policy=policy)


def application(document: Any, path: str) -> dict[str, Any]:
    """The Penstock application in a Serve config document. Raises ConfigError."""
    apps = document.get("applications") if isinstance(document, dict) else None
    for app in apps or []:
        if isinstance(app, dict) and str(app.get("import_path", "")).startswith("graphs."):
            return app
    msg = f"{path}: no application with `import_path: graphs.chat:build`"
    raise ConfigError(msg)


def _parse(model: type[T], data: Mapping[str, Any], root: str) -> T:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, model, root))) from error


def _lines(error: ValidationError, model: type[BaseModel], root: str) -> Iterable[str]:
    """Pydantic's faults as `key: what is wrong`, with the choices where a key is unknown."""
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            fields = _fields_at(model, fault["loc"][:-1])
            yield f"{root}.{where}: unknown key: choose from {', '.join(sorted(fields))}"
        else:
            yield f"{root}.{where}: {fault['msg'].removeprefix('Value error, ')}".replace(f"{root}.: ", "")


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> Iterable[str]:
    """The keys allowed where `loc` points; follows model-typed fields as far as it can."""
    current: Any = model
    for part in loc:
        if not (inspect.isclass(current) and issubclass(current, BaseModel)):
            current = next((m for m in (VllmPool, UpstreamPool, FakePool) if part == m.model_fields["kind"].default), Tier)
            continue
        field = current.model_fields.get(str(part))
        current = field.annotation if field else None
    if inspect.isclass(current) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


Graph.model_rebuild()
