"""Traces, as a real OTLP receiver gets them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.core.call import Call
from app.core.decisions import GenerateDecision, ScrubDecision
from app.core.ports import Principal, UsageRow
from app.observability.metrics import Metrics
from app.observability.traces import Tracer
from tests.kit import Kit, ask, run

ROOT = Path(__file__).parents[2]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """An OTLP/HTTP receiver. `delay`: seconds before it answers."""

    def __init__(self, delay: float = 0.0) -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.paths.append(self.path)
                collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                time.sleep(delay)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> list[Span]:
        requests = map(ExportTraceServiceRequest.FromString, self.bodies)
        return [
            span for r in requests for resource in r.resource_spans for s in resource.scope_spans for span in s.spans
        ]

    @property
    def ports(self) -> set[str]:
        requests = map(ExportTraceServiceRequest.FromString, self.bodies)
        resources = [resource.resource for r in requests for resource in r.resource_spans]
        return {facts(resource)["service.name"] for resource in resources}


def facts(thing: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in thing.attributes}


@contextmanager
def collecting(delay: float = 0.0) -> Iterator[Collector]:
    collector = Collector(delay)
    thread = threading.Thread(target=collector.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join(5)


def call(**changes: Any) -> Call:
    """A call that waited 10 ms for the scrubber and 100 ms for the engine."""
    made = Call("chatcmpl-1", Principal("acme", "key_1"), deadline=0.0, created=1_800_000_000.5, started=1000.0)
    made.spans = [("generate", 1000.02, 1000.12), ("scrub", 1000.0, 1000.01)]
    made.first_token, made.max_completion = 1000.05, 64
    made.decisions.generate, made.decisions.scrub = GenerateDecision("a", 1), ScrubDecision({"PERSON": 1})
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def row(**changes: Any) -> UsageRow:
    base: dict[str, Any] = {
        "id": "chatcmpl-1", "created": 1_800_000_000.5, "tenant": "acme", "key_id": "key_1", "model": "auto",
        "tier": "small", "pool": "a", "region": "eu", "outcome": "ok", "refused_by": None, "prompt_tokens": 7,
        "cached_tokens": 2, "completion_tokens": 5, "cost": Decimal("0.00001"), "price_list": "default", "ttft": 0.05,
        "latency": 0.125, "model_id": "model-a",
    }  # fmt: skip
    return UsageRow(**(base | changes))


def sent(made: Call, billed: UsageRow) -> list[Span]:
    with collecting() as collector:
        tracer = Tracer(collector.url)
        tracer.record(made, billed)
        tracer.close()
        return collector.spans


def test_a_call_is_one_trace_with_a_span_for_each_stage() -> None:
    spans = {span.name: span for span in sent(call(), row())}
    whole = spans.pop("chat auto")
    assert {"scrub", "generate"} == set(spans)
    assert {(span.trace_id, span.parent_span_id) for span in spans.values()} == {(whole.trace_id, whole.span_id)}
    assert whole.parent_span_id == b""
    assert whole.kind == Span.SPAN_KIND_SERVER
    assert whole.status.code == Status.STATUS_CODE_UNSET


def test_times_are_the_calls_own_on_the_wall_clock() -> None:
    start = 1_800_000_000_500_000_000
    spans = {span.name: span for span in sent(call(), row())}
    ms = {
        name: (round((s.start_time_unix_nano - start) / 1e6), round((s.end_time_unix_nano - start) / 1e6))
        for name, s in spans.items()
    }
    assert ms == {"chat auto": (0, 125), "scrub": (0, 10), "generate": (20, 120)}
    (event,) = spans["generate"].events
    assert (event.name, round((event.time_unix_nano - start) / 1e6)) == ("first token", 50)


def test_a_stage_that_ends_after_the_row_was_made_ends_within_the_call() -> None:
    spans = {span.name: span for span in sent(call(spans=[("settle", 1000.125, 1000.2)]), row())}
    assert spans["settle"].end_time_unix_nano == spans["chat auto"].end_time_unix_nano


def test_attributes_follow_the_genai_conventions() -> None:
    whole = next(span for span in sent(call(), row()) if span.name == "chat auto")
    assert facts(whole) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "penstock", "gen_ai.request.model": "auto",
        "gen_ai.request.choice.count": 1, "gen_ai.request.max_tokens": 64, "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "model-a", "gen_ai.response.time_to_first_chunk": 0.05,
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.cache_read.input_tokens": 2, "gen_ai.usage.output_tokens": 5,
        "penstock.tenant": "acme", "penstock.tier": "small", "penstock.pool": "a", "penstock.region": "eu",
        "penstock.outcome": "ok", "penstock.cost": "0.00001",
    }  # fmt: skip


def test_a_failed_call_is_an_error_and_a_refused_one_is_not() -> None:
    failed, refused = (
        next(span for span in sent(call(), row(outcome=outcome)) if span.name == "chat auto")
        for outcome in ("failed", "refused")
    )
    assert (failed.status.code, facts(failed)["error.type"]) == (Status.STATUS_CODE_ERROR, "failed")
    assert refused.status.code == Status.STATUS_CODE_UNSET


def test_the_callers_trace_goes_on() -> None:
    spans = sent(call(traceparent=f"00-{TRACE}-{PARENT}-01"), row())
    whole = next(span for span in spans if span.name == "chat auto")
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert whole.parent_span_id.hex() == PARENT


def test_a_caller_who_does_not_sample_is_not_traced() -> None:
    assert sent(call(traceparent=f"00-{TRACE}-{PARENT}-00"), row()) == []


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_malformed_header_starts_a_new_trace(header: str) -> None:
    whole = next(span for span in sent(call(traceparent=header), row()) if span.name == "chat auto")
    assert whole.parent_span_id == b""
    assert whole.trace_id.hex() not in {TRACE, "0" * 32}


@pytest.mark.parametrize("ending", ["", "/", "/v1/traces", "/v1/traces/"])
def test_the_endpoint_may_be_the_collectors_or_its_traces_own(ending: str) -> None:
    with collecting() as collector:
        tracer = Tracer(collector.url + ending)
        tracer.record(call(), row())
        tracer.close()
        assert collector.paths == ["/v1/traces"]
        assert collector.ports == {"penstock"}


async def test_a_real_calls_trace_holds_its_stages_and_none_of_its_text() -> None:
    rows: list[UsageRow] = []

    class Seen(Metrics):
        def observe(self, row: UsageRow, call: Call | None = None) -> None:
            rows.append(row)

    kit = Kit(metrics=Seen())
    gateway = kit.gateway(cache={"rules": {"personal": True}})
    made, _ = await run(gateway, ask("Mail zanzibar to Ada Lovelace", system="You are quagmire"))
    with collecting() as collector:
        tracer = Tracer(collector.url)
        tracer.record(made, rows[0])
        tracer.close()
    named = {span.name for span in collector.spans}
    assert named >= {"chat auto", "scrub", "guard", "recall", "route", "generate", "moderate", "remember"}
    whole = b"".join(collector.bodies)
    assert [word for word in (b"zanzibar", b"Ada", b"quagmire", b"said") if word in whole] == []


@pytest.mark.parametrize("kind", ["gone", "silent"])
@pytest.mark.timeout(120)
def test_a_dead_collector_neither_slows_nor_fails_a_call(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "silent":
            listener.listen()
        tracer = Tracer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        asked: list[str] = []
        with monkeypatch.context() as patched:  # whatever goes out in this thread would make the call wait
            connect = socket.socket.connect

            def noted(self: socket.socket, address: Any) -> None:
                asked.append(threading.current_thread().name)
                connect(self, address)

            patched.setattr(socket.socket, "connect", noted)
            for _ in range(2000):
                tracer.record(call(), row())
            tracer.close()  # comes to an end
        assert asked
        assert threading.current_thread().name not in asked


def test_off_it_records_nothing_and_loads_nothing() -> None:
    code = (
        "import sys; from tests.observability.test_traces import call, row;"
        "from app.observability.traces import Tracer;"
        "before = set(sys.modules); Tracer(None).record(call(), row()); Tracer().close();"
        "print(set(sys.modules) - before, 'opentelemetry.sdk.trace' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set() False"
