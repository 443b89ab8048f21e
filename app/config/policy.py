"""Policy: how the graph decides. The Gateway's `user_config`; a change reaches running replicas, nothing restarts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.config.alerts import Alerts, IpLimits, Observability
from app.config.api import Api
from app.config.base import Strict, choose
from app.config.batches import Batches
from app.config.cache import CachePolicy
from app.config.files import Files
from app.config.route import Route
from app.config.stage_order import STAGES, check_order
from app.core.ports import Action, Hiding


class Prices(Strict):
    """Money for 1M tokens. `hit`: the share of the full price that a semantic-cache hit costs; `batch`: that a call
    of the batch API does.
    """

    input: Annotated[Decimal, Field(ge=0)]
    cached_input: Annotated[Decimal, Field(ge=0)]
    output: Annotated[Decimal, Field(ge=0)]
    hit: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.1")
    batch: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.5")


class PoolCost(Strict):
    """What a pool's tokens cost us: either a replica of ours, by the hour and its tokens a second at full load, or an
    upstream's prices for 1M tokens.
    """

    gpu_hour: Annotated[Decimal, Field(ge=0, description="money for one GPU for an hour")] | None = None
    gpus: Annotated[Decimal, Field(gt=0, description="of one replica; may be a fraction; default 1")] | None = None
    input_tokens_per_second: Annotated[Decimal, Field(gt=0)] | None = None
    output_tokens_per_second: Annotated[Decimal, Field(gt=0)] | None = None
    input: Annotated[Decimal, Field(ge=0)] | None = None
    cached_input: Annotated[Decimal, Field(ge=0)] | None = None
    output: Annotated[Decimal, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> PoolCost:
        hosted = {"gpu_hour", "input_tokens_per_second", "output_tokens_per_second"}
        bought = {"input", "cached_input", "output"}
        said = {name for name, value in self if value is not None}
        if said - {"gpus"} != hosted and said != bought:
            ways = [", ".join(sorted(names)) for names in (hosted, bought)]
            msg = f"write {ways[0]} (and gpus) for replicas of ours, or {ways[1]} for an upstream"
            raise ValueError(msg)
        return self


class Tier(Strict):
    """A class of models. `auto` takes it from complexity `above` up. `pools`: name -> weight, tried by health."""

    min_complexity: Annotated[float, Field(ge=0, le=1)]
    pools: dict[str, Annotated[float, Field(gt=0)]]
    price: Prices


class Admit(Strict):
    """Who may call. `max_completion_tokens`: the worst case reserved where a call names none.

    max_in_flight: calls at once in one gateway replica, a further one gets 503 at once. Keep it below the gateway's
    `max_ongoing_requests`, or Serve turns calls away first, in words that are not OpenAI's.
    """

    max_body_bytes: Annotated[int, Field(ge=1024)] = 4_000_000
    max_completion_tokens: Annotated[int, Field(ge=1)] = 1024
    max_in_flight: Annotated[int, Field(ge=1)] = 256
    free_per_minute: Annotated[
        int, Field(ge=0, description="requests of one key that are no calls (counting, files, lists); 0: no limit")
    ] = 1_200


class Scrub(Strict):
    """Which personal data is hidden, from which score up. `types`: None is all the scrubber finds.

    mode: `placeholder` (`<PERSON_1>`, put back in the answer), `redact` (`<PERSON>`), `hash` (`<PERSON_a1b2c3d4>`, the
    same in every call of a tenant), `synthetic` (a stand-in of the same kind, put back in the answer) or `block` (the
    call is refused). tools: whether tools and JSON schemas are scrubbed too. names: people's names are hidden `always`,
    `never`, or where they are `private`: everywhere but in short questions about a subject (`How did Marie Curie die?`)
    without contact data, possessives, roles, letters, records or chats.
    A tenant's `safety` stands over mode and types.
    """

    types: list[str] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    mode: Hiding = "placeholder"
    tools: bool = True
    names: Literal["always", "private", "never"] = "private"


class Restore(Strict):
    """Where originals come back. links: within a link (a URL, a Markdown target, an attribute), while text of others is
    in the conversation (a tool's result, a pasted document): `keep` the placeholder unless the same link stood there
    with its original, or `restore` it all the same. Such text can plant a link that carries data away.
    """

    links: Literal["keep", "restore"] = "keep"


class Leak(Strict):
    """What a run of the system prompt in the answer leads to; a tenant's `safety.leak` stands over it.

    action: `flag` by default, because many applications tell their model to say something word for word. run: letters
    and digits of the system prompt in a row, the rest does not count; a shorter system prompt leaks as a whole.
    """

    action: Action = "flag"
    run: Annotated[int, Field(ge=40)] = 60


class Unreadable(Strict):
    """Prompts that the guard's model cannot read: scripts and signs that it was not taught. threshold: from which share
    of a message's letters up, 0..1. action: as the guard's; `flag` by default, because whole languages are such.
    """

    action: Action = "flag"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8


class Guard(Strict):
    """`alongside`: scores while the engine already generates, and holds the first Token back until it has.

    action: `block` refuses the call; `flag` lets it pass and says so; `throttle` too, and it is a strike (`watch`).
    tools: the words of tool definitions, which may be a third party's: `judge` them as messages, `flag` them at most
    (they are full of orders, and an application sends the same ones with every call), or `ignore` them. A tenant's
    `safety` stands over action and threshold.
    """

    action: Action = "block"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    mode: Literal["before", "alongside"] = "before"
    tools: Literal["judge", "flag", "ignore"] = "flag"
    leak: Leak = Leak()
    unreadable: Unreadable = Unreadable()


class Generate(Strict):
    """Seconds. A pool silent for `failover` is passed over while another is left, the last one after `first_token`;
    it then rests for `cooldown`.

    recoveries: how often an answer may lose its engine after the first token and be continued by another.
    keep_alive: a stream that has nothing to say for so long sends a comment, so that nothing on the way closes it.
    clamp: `max_tokens` of a chat or completion above what the key and the pool allow is lowered, and
    `x-penstock-max-tokens` says to what, where else it is refused; on /v1/messages it always is.
    """

    deadline: Annotated[float, Field(gt=0)] = 300
    failover: Annotated[float, Field(gt=0)] = 10
    first_token: Annotated[float, Field(gt=0)] = 60
    cooldown: Annotated[float, Field(ge=0)] = 10
    recoveries: Annotated[int, Field(ge=0)] = 2
    keep_alive: Annotated[float, Field(gt=0)] = 15
    clamp: bool = False


class Moderate(Strict):
    """Scores are the classifier's labels; a label without a threshold never stops an answer. The label `unreadable` is
    the share of an answer's letters that the classifier cannot read, 0..1.

    window: characters scored together. overlap: of them, how many left before and are seen again, so that a phrase
    cannot hide across the edge; None is half of the window. stride: so many unscored characters call for a score;
    delay: so do fewer, after this many seconds. Text leaves only once a window that contains it was scored.
    """

    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=lambda: {"toxicity": 0.8})
    window: Annotated[int, Field(ge=32)] = 400
    overlap: Annotated[int, Field(ge=0)] | None = None
    stride: Annotated[int, Field(ge=1)] = 48
    delay: Annotated[float, Field(gt=0)] = 0.15

    @model_validator(mode="after")
    def _window_holds_stride(self) -> Moderate:
        if self.stride >= self.window:
            msg = f"stride: {self.stride} must be below window ({self.window}), or no window overlaps the last"
            raise ValueError(msg)
        if self.overlap is not None and self.overlap >= self.window:
            msg = f"overlap: {self.overlap} must be below window ({self.window}), or nothing new fits into one"
            raise ValueError(msg)
        return self


EMBEDDING, MODERATION = "embedding", "moderation"
"""What calls of these two are billed as, like a tier; also what `model` may say."""


class Embeddings(Strict):
    """`/v1/embeddings`, by the graph's encoder. model_id: its name beside `embedding`."""

    model_id: Annotated[str, Field(min_length=1)] = "all-minilm-l6-v2"
    price: Prices = Prices(input=Decimal("0.01"), cached_input=Decimal("0.01"), output=Decimal(0))


class Moderations(Strict):
    """`/v1/moderations`, by the graph's moderator. model_id: its name beside `moderation`."""

    model_id: Annotated[str, Field(min_length=1)] = "detoxify"
    price: Prices = Prices(input=Decimal(0), cached_input=Decimal(0), output=Decimal(0))


class Policy(Strict):
    """How the graph decides. The Gateway's `user_config`: a change reaches running replicas, nothing restarts."""

    stages: list[str] = Field(default_factory=lambda: list(STAGES))
    api: Api = Api()
    aliases: dict[str, str] = Field(
        default_factory=dict, description="other names of models; `*` stands for anything: `claude-*: large`"
    )
    admit: Admit = Admit()
    scrub: Scrub = Scrub()
    restore: Restore = Restore()
    guard: Guard = Guard()
    cache: CachePolicy = CachePolicy()
    route: Route = Route()
    generate: Generate = Generate()
    moderate: Moderate = Moderate()
    batches: Batches = Batches()
    files: Files = Files()
    embeddings: Embeddings = Embeddings()
    moderations: Moderations = Moderations()
    alerts: Alerts = Alerts()
    ip_limits: IpLimits = IpLimits()
    observability: Observability = Observability()
    tiers: dict[str, Tier]
    price_list: str = Field(default="default", description="the name of the standard list: the tiers' `price`")
    price_lists: dict[str, dict[str, Prices]] = Field(
        default_factory=dict, description="contracts: name -> tier -> prices; a tier left out has the standard ones"
    )
    model_prices: dict[str, Prices] = Field(
        default_factory=dict, description="by model id: models that are priced apart from their tier"
    )
    costs: dict[str, PoolCost] = Field(default_factory=dict, description="by pool: what its tokens cost us; default 0")

    @property
    def rooms(self) -> list[str]:
        """`stages` by its name in 0.1: kept for one version, as the key is."""
        return self.stages

    @property
    def judges(self) -> tuple[str, ...]:
        """What `model` may say where no engine answers."""
        return (EMBEDDING, self.embeddings.model_id, MODERATION, self.moderations.model_id)

    @model_validator(mode="after")
    def _priced(self) -> Policy:
        if self.price_list in self.price_lists:
            msg = f"price_lists.{self.price_list}: that is the standard list, its prices stand at the tiers"
            raise ValueError(msg)
        priced = {*self.tiers, EMBEDDING, MODERATION}
        for name, prices in self.price_lists.items():
            for tier in prices:
                if tier not in priced:
                    raise choose(f"price_lists.{name}", tier, priced)
        return self

    @model_validator(mode="after")
    def _legal(self) -> Policy:
        check_order(self.stages)
        if not self.tiers:
            msg = "tiers: name at least one"
            raise ValueError(msg)
        if "auto" in self.tiers:
            msg = "tiers: `auto` is the router's own name; call the tier something else"
            raise ValueError(msg)
        for name in (EMBEDDING, MODERATION):
            if name in self.tiers:
                msg = f"tiers: calls of another endpoint are billed as `{name}`; call the tier something else"
                raise ValueError(msg)
        self.route.check(self.tiers)
        if min(tier.min_complexity for tier in self.tiers.values()) > 0:
            msg = "tiers: one must have `min_complexity: 0`, or the simplest prompts have nowhere to go"
            raise ValueError(msg)
        return self
