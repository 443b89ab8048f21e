"""Prometheus metrics of a gateway. Label sets are bounded: tiers, pools, stages, outcomes, never tenants or keys.

Settle observes every call; the ledger's, the webhooks' and the door's keepers say the rest; /metrics exports.
Names follow OpenTelemetry's GenAI conventions where one exists.

Several gateways on one machine: with PROMETHEUS_MULTIPROC_DIR set before the process starts, each writes its numbers to
that folder and /metrics of any of them answers for all. A process then makes one Metrics.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import psutil
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from app.core.call import Call
from app.core.decisions import Decisions
from app.core.ports import Stock, UsageRow

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Of a whole call, and of its first token."""
MOMENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)
"""Of one stage, and from one token to the next."""
BOOT_CLOCK = 2.0
"""Seconds by which a process may seem younger than it is: the kernel tells its boot time in whole seconds."""


class Metrics:
    """`observe` every usage row; `export` for /metrics. The other methods are for whoever knows the number."""

    def __init__(self) -> None:
        self._folder = _folder()
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
            bury(self._folder)
        self._registry = CollectorRegistry()
        self._count_calls()
        self._time_calls()
        self._gauge()

    def _count_calls(self) -> None:
        counter = self._counter
        self._calls = counter("penstock_calls", "Calls by tier and outcome.", "tier", "outcome")
        self._refusals = counter("penstock_refusals", "Calls refused, by stage.", "stage")
        self._findings = counter(
            "penstock_findings", "Calls in which a stage found fault, by action.", "stage", "action"
        )
        self._tokens = counter("gen_ai_client_token_usage", "Tokens by kind.", "gen_ai_token_type", "tier")
        self._cost = counter("penstock_cost", "Billed cost, in the price list's currency.", "tier")
        self._goods = counter("penstock_goods_cost", "What the calls cost us, in the same currency.", "tier")
        self._cache = counter("penstock_cache_lookups", "Semantic cache lookups, by what came of them.", "result")
        self._routes = counter("penstock_routes", "Decisions of `auto`, by what decided.", "tier", "by")
        self._pool_calls = counter("penstock_pool_calls", "Calls by the pool asked last.", "pool", "outcome")
        self._failovers = counter(
            "penstock_pool_failovers",
            "Times that a pool failed before its first token, and the next was asked.",
            "pool",
        )
        self._unknown = counter("penstock_unknown_placeholders", "Placeholders that a model made up, not shown.")
        self._door = counter("penstock_door", "Requests stopped before they were calls.", "outcome")
        self._deliveries = counter("penstock_webhook_deliveries", "Attempts to deliver a webhook.", "outcome")

    def _time_calls(self) -> None:
        tier, ended = ("tier",), ("tier", "outcome")
        self._ttft = self._histogram(
            "gen_ai_server_time_to_first_token_seconds", "Arrival to the first token sent, all stages passed.", ended
        )
        self._latency = self._histogram("gen_ai_server_request_duration_seconds", "Arrival to settlement.", ended)
        self._queue = self._histogram("penstock_queue_seconds", "Arrival to the asking of an engine.", tier)
        self._per_token = self._histogram(
            "gen_ai_server_time_per_output_token_seconds", "Mean over a call, after its first token.", tier, MOMENTS
        )
        self._longest_gap = self._histogram(
            "penstock_longest_gap_seconds", "Longest wait between two tokens of a call.", tier, MOMENTS
        )
        self._stages = self._histogram(
            "penstock_stage_seconds", "How long a stage made a call wait.", ("stage",), (*MOMENTS, 60, 300)
        )

    def _gauge(self) -> None:
        gauge = self._gauge_of
        self._in_flight = gauge("penstock_calls_in_flight", "Calls on their way.", "livesum")
        self._outbox = gauge("penstock_journal_rows", "Usage rows that wait for the database.", "livesum")
        # Every gateway reads the same from the ledger, and learns of the same pools: the last to look is right.
        self._drift = gauge("penstock_route_drift", "How far a tier's share is off target; 0: within.", "livemax")
        self._reservations = gauge("penstock_reservations", "Reservations held in the ledger.", "livemostrecent")
        self._reserved = gauge("penstock_reserved_money", "Money they set aside.", "livemostrecent")
        self._cached = gauge("penstock_cache_entries", "Live entries of the semantic cache.", "livemostrecent")
        self._cached_bytes = gauge("penstock_cache_bytes", "Memory that they take.", "livemostrecent")
        self._evicted = gauge("penstock_cache_evicted", "Entries that made room, since it started.", "livemostrecent")
        self._unsaved = gauge("penstock_cache_unsaved", "1: its store fails; a restart forgets.", "livemostrecent")
        self._pools = gauge("penstock_pool_up", "1: it answered the last call, 0: it failed.", "livemostrecent", "pool")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge_of(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode=mode)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)

    def observe(self, row: UsageRow, call: Call | None = None) -> None:
        """Count one call. Its stages' and tokens' times come from `call`. A batch's calls have no time to keep to."""
        tier = row.tier or "none"
        made = call.decisions if call else Decisions()
        self._count(row, tier, made)
        self._judge_pools(row, made)
        if row.batch:
            return
        self._latency.labels(tier, row.outcome).observe(row.latency)
        if row.ttft is not None:
            self._ttft.labels(tier, row.outcome).observe(row.ttft)
        if call is not None:
            self._time(row, tier, call)

    def _count(self, row: UsageRow, tier: str, made: Decisions) -> None:
        self._calls.labels(tier, row.outcome).inc()
        self._cost.labels(tier).inc(float(row.cost))
        self._goods.labels(tier).inc(float(row.goods))
        for stage, found in (("guard", made.guard), ("leak", made.leak)):
            if found and found.action:
                self._findings.labels(stage, found.action).inc()
        if row.refused_by and not row.refused_by.endswith(".throttle"):
            self._refusals.labels(row.refused_by).inc()
        if made.route and made.route.by:
            self._routes.labels(tier, made.route.by).inc()
            self._drift.set(round(made.route.drift, 4))
        if made.restore:
            self._unknown.inc(made.restore.unknown)
        if made.recall:
            self._cache.labels(made.recall.result).inc()
        kinds = {"input": max(0, row.prompt_tokens - row.cached_tokens), "cached_input": row.cached_tokens}
        for kind, tokens in {**kinds, "output": row.completion_tokens}.items():
            self._tokens.labels(kind, tier).inc(tokens)

    def _judge_pools(self, row: UsageRow, made: Decisions) -> None:
        asked = made.generate.attempts if made.generate else 0
        tried = made.route.pools[:asked] if made.route else ()
        for pool in tried[:-1] if row.pool else tried:
            self._failovers.labels(pool).inc()
            self._pools.labels(pool).set(0)
        if row.pool:
            self._pool_calls.labels(row.pool, row.outcome).inc()
            if row.ttft is not None:
                self._pools.labels(row.pool).set(1)

    def _time(self, row: UsageRow, tier: str, call: Call) -> None:
        for stage, start, end in call.spans:
            self._stages.labels(stage).observe(end - start)
        if call.queued is not None:
            self._queue.labels(tier).observe(call.queued)
        if call.mean_gap is not None:
            self._longest_gap.labels(tier).observe(call.longest_gap)
            # A Token may hold several of the model's tokens, and choices advance together.
            later = row.completion_tokens / call.choices - 1
            if later > 0:
                self._per_token.labels(tier).observe(call.mean_gap * call.gaps / later)

    def in_flight(self, calls: int) -> None:
        """How many calls this gateway has on their way."""
        self._in_flight.set(calls)

    def held(self, count: int, money: Decimal) -> None:
        """What the ledger holds in reservations, of all gateways."""
        self._reservations.set(count)
        self._reserved.set(float(money))

    def cache(self, stock: Stock) -> None:
        """What the semantic cache holds, of all gateways."""
        self._cached.set(sum(entries for entries, _ in stock.tenants.values()))
        self._cached_bytes.set(sum(size for _, size in stock.tenants.values()))
        self._evicted.set(stock.evicted)
        self._unsaved.set(stock.saving is False)

    def outbox(self, rows: int) -> None:
        """How many usage rows this gateway keeps until the database takes them."""
        self._outbox.set(rows)

    def delivered(self, outcome: str) -> None:
        """One attempt to deliver a webhook: `delivered`, `failed`, or `given_up` after the last."""
        self._deliveries.labels(outcome).inc()

    def door(self, outcome: str) -> None:
        """One request stopped: `missing_key`, `wrong_key`, or its address's `requests` or `failures` a minute."""
        self._door.labels(outcome).inc()

    def export(self) -> tuple[bytes, str]:
        """The text format and its content type."""
        registry = self._registry
        if self._folder:
            bury(self._folder)
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._folder))
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _folder() -> Path | None:
    """Where the gateways of this machine keep their numbers. The library decided when it was imported."""
    alone = values.ValueClass is values.MutexValue
    return None if alone else Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


def bury(folder: Path) -> None:
    """Take dead processes' gauges away. Their counters stay while others count: a sum that falls looks like a restart.

    When all are dead, everything goes.
    """
    files = list(folder.glob("*.db"))
    dead = [file for file in files if not _alive(file)]
    for file in dead:
        if len(dead) == len(files) or file.name.startswith("gauge_live"):
            file.unlink(missing_ok=True)


def _alive(file: Path) -> bool:
    """Whether the process that a file is named after made it, and not one before it with the same number."""
    try:
        born = psutil.Process(int(file.stem.rpartition("_")[2])).create_time()
        return bool(born < file.stat().st_mtime + BOOT_CLOCK)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
