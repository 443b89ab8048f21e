"""Prometheus metrics of one gateway process. Label sets are bounded: tiers, pools, rooms and outcomes, never tenants.

Names follow OpenTelemetry's GenAI conventions where one exists.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from app.ports import UsageRow

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """`observe` every usage row; `export` for /metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        by = ("tier", "outcome")
        self._calls = Counter("penstock_calls", "Calls by tier and outcome.", by, registry=self._registry)
        self._refusals = Counter("penstock_refusals", "Calls refused, by room.", ("room",), registry=self._registry)
        self._tokens = Counter(
            "gen_ai_client_token_usage", "Tokens by kind.", ("gen_ai_token_type", "tier"), registry=self._registry
        )
        self._cost = Counter(
            "penstock_cost", "Billed cost, in the price list's currency.", ("tier",), registry=self._registry
        )
        self._cache = Counter("penstock_cache_lookups", "Semantic cache lookups.", ("result",), registry=self._registry)
        self._ttft = Histogram(
            "gen_ai_server_time_to_first_token_seconds", "Arrival to first token.", ("tier",),
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self._latency = Histogram(
            "gen_ai_server_request_duration_seconds", "Arrival to settlement.", by,
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip

    def observe(self, row: UsageRow) -> None:
        """Count one call."""
        tier = row.tier or "none"
        self._calls.labels(tier, row.outcome).inc()
        self._latency.labels(tier, row.outcome).observe(row.latency)
        self._cost.labels(tier).inc(float(row.cost))
        if row.refused_by:
            self._refusals.labels(row.refused_by).inc()
        if row.ttft is not None:
            self._ttft.labels(tier).observe(row.ttft)
        if lookup := row.trail.get("recall", {}).get("result"):
            self._cache.labels(lookup).inc()
        kinds = {"input": row.prompt_tokens - row.cached_tokens, "cached_input": row.cached_tokens}
        for kind, tokens in {**kinds, "output": row.completion_tokens}.items():
            if tokens:
                self._tokens.labels(kind, tier).inc(tokens)

    def export(self) -> tuple[bytes, str]:
        """The text format and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
