"""One OpenTelemetry trace per call, a span per stage, sent by OTLP over HTTP. Off until an endpoint is given.

Settle records a call when it is over, from the times that the stages noted. Sending is a background thread's work: a
collector that is slow or gone costs traces, never a call. Attributes follow the GenAI conventions; no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.core.call import REQUEST_ID, Call
from app.core.ports import UsageRow

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

PATIENCE = 2.0
"""Seconds for one batch to arrive, retries included; at exit a dead collector holds the process for three of these."""
QUEUE, BATCH = 4096, 2048
"""Spans waiting at most, and sent at once. Older ones make room for newer."""


class Tracer:
    """endpoint: the collector, `http://host:4318`. None: records nothing, and loads nothing."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._provider = _provider(endpoint) if endpoint else None

    def record(self, call: Call, row: UsageRow) -> None:
        """One trace of a call that is over; it continues the caller's where a `traceparent` came along."""
        if self._provider is None:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        tracer = self._provider.get_tracer("penstock")
        shift = call.created - call.started
        whole = tracer.start_span(
            f"chat {row.model}",
            _parent(call.traceparent),
            SpanKind.SERVER,
            _facts(call, row),
            start_time=_ns(call.created),
        )
        if row.outcome == "failed":
            whole.set_attribute("error.type", "failed")
            whole.set_status(Status(StatusCode.ERROR))
        inside = set_span_in_context(whole)
        for stage, start, end in sorted(call.spans, key=lambda span: span[1]):
            span = tracer.start_span(
                stage, inside, attributes=_decided(call.trail.get(stage, {})), start_time=_ns(start + shift)
            )
            if stage == "generate" and call.first_token is not None:
                span.add_event("first token", timestamp=_ns(call.first_token + shift))
            span.end(_ns(end + shift))
        # The row's latency ends where its writing begins.
        whole.end(_ns(max([call.started + row.latency, *(end for _, _, end in call.spans)]) + shift))

    def close(self) -> None:
        """Send what waits; blocks for a few seconds at most."""
        if self._provider is not None:
            self._provider.shutdown()


def _provider(endpoint: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    url = endpoint.rstrip("/").removesuffix("/v1/traces") + "/v1/traces"
    exporter = OTLPSpanExporter(url, timeout=PATIENCE)
    provider = TracerProvider(resource=Resource.create({"service.name": "penstock"}))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE, max_export_batch_size=BATCH))
    return provider


def _parent(traceparent: str | None) -> Context:
    """The caller's span, or nothing: a malformed header starts a new trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent or ""}, Context())


def _facts(call: Call, row: UsageRow) -> dict[str, Any]:
    facts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "penstock",
        "gen_ai.request.model": row.model,
        "gen_ai.request.choice.count": call.choices,
        "gen_ai.request.max_tokens": call.max_completion,
        "gen_ai.response.id": row.id,
        "gen_ai.response.model": row.model_id,
        "gen_ai.response.time_to_first_chunk": row.ttft,
        "gen_ai.usage.input_tokens": row.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": row.cached_tokens,
        "gen_ai.usage.output_tokens": row.completion_tokens,
        "penstock.tenant": row.tenant,
        "penstock.tier": row.tier,
        "penstock.pool": row.pool,
        "penstock.region": row.region,
        "penstock.outcome": row.outcome,
        "penstock.refused_by": row.refused_by,
        "penstock.cost": f"{row.cost:f}",
        "penstock.request_id": REQUEST_ID.get() or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _decided(trail: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage noted, as far as an attribute can hold it."""
    return {f"penstock.{name}": value for name, value in trail.items() if isinstance(value, bool | int | float | str)}


def _ns(seconds: float) -> int:
    """Unix time as OpenTelemetry counts it."""
    return int(seconds * 1e9)
