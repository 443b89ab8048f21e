"""Metrics of one gateway, of several in one folder, and the times that stages note on a call."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from app.core.call import Call
from app.core.decisions import CacheDecision
from app.core.ports import Principal, UsageRow
from app.observability.metrics import Metrics, bury
from app.testing.fakes import FakeClassifier, FakeEngine, FakeScrubber
from tests.kit import Kit, ask, run

ROOT = Path(__file__).parents[2]
TTFT, TPOT = "gen_ai_server_time_to_first_token_seconds", "gen_ai_server_time_per_output_token_seconds"
WHOLE = "gen_ai_server_request_duration_seconds"


def row(**changes: Any) -> UsageRow:
    base: dict[str, Any] = {
        "id": "chatcmpl-1", "created": 1.0, "tenant": "acme", "key_id": "key_1", "model": "auto", "tier": "small",
        "pool": "a", "region": "eu", "outcome": "ok", "refused_by": None, "prompt_tokens": 7, "cached_tokens": 2,
        "completion_tokens": 5, "cost": Decimal("0.25"), "price_list": "default", "ttft": 0.05, "latency": 0.125,
        "goods": Decimal("0.0625"),
    }  # fmt: skip
    return UsageRow(**(base | changes))


def call() -> Call:
    return Call("chatcmpl-1", Principal("acme", "key_1"), deadline=time.monotonic() + 60)


def read(body: bytes) -> dict[str, float]:
    """`name{label="value"}` -> value, labels sorted, without buckets."""
    out = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            said = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            out[f"{sample.name}{{{said}}}" if said else sample.name] = sample.value
    return out


def values(metrics: Metrics) -> dict[str, float]:
    return read(metrics.export()[0])


# -- one gateway --------------------------------------------------------------------------------


def test_a_call_is_counted_by_tier_outcome_and_kind_of_token() -> None:
    metrics = Metrics()
    metrics.observe(row())
    metrics.observe(row(tier=None, pool=None, outcome="refused", refused_by="guard", ttft=None))
    found = values(metrics)
    assert found['penstock_calls_total{outcome="ok",tier="small"}'] == 1
    assert found['penstock_calls_total{outcome="refused",tier="none"}'] == 1
    assert found['penstock_refusals_total{stage="guard"}'] == 1
    assert [
        found[f'gen_ai_client_token_usage_total{{gen_ai_token_type="{kind}",tier="small"}}']
        for kind in ("input", "cached_input", "output")
    ] == [5, 2, 5]
    assert found['penstock_cost_total{tier="small"}'] == 0.25
    assert found['penstock_goods_cost_total{tier="small"}'] == 0.0625


def test_an_engine_that_counts_more_cached_tokens_than_the_prompt_has_breaks_nothing() -> None:
    metrics = Metrics()
    metrics.observe(row(prompt_tokens=1, cached_tokens=3))
    found = values(metrics)
    assert found['gen_ai_client_token_usage_total{gen_ai_token_type="cached_input",tier="small"}'] == 3
    assert found['gen_ai_client_token_usage_total{gen_ai_token_type="input",tier="small"}'] == 0


def test_a_hits_first_token_is_told_from_the_engines() -> None:
    metrics = Metrics()
    metrics.observe(row(ttft=0.4))
    hit = call()
    hit.decisions.recall = CacheDecision("hit")
    metrics.observe(row(outcome="hit", ttft=0.002), hit)
    found = values(metrics)
    assert found[f'{TTFT}_sum{{outcome="ok",tier="small"}}'] == 0.4
    assert found[f'{TTFT}_sum{{outcome="hit",tier="small"}}'] == 0.002
    assert found['penstock_cache_lookups_total{result="hit"}'] == 1


def test_a_batchs_call_is_counted_and_not_timed() -> None:
    metrics = Metrics()
    made = call()
    made.spans.append(("scrub", 0.0, 1.0))
    metrics.observe(row(batch=True), made)
    found = values(metrics)
    assert found['penstock_calls_total{outcome="ok",tier="small"}'] == 1
    assert [name for name in found if "seconds" in name] == []


def test_the_numbers_of_others_stand_beside_the_calls() -> None:
    metrics = Metrics()
    metrics.in_flight(3)
    metrics.held(2, Decimal("1.5"))
    metrics.outbox(4)
    metrics.delivered("given_up")
    metrics.door("wrong_key")
    metrics.door("wrong_key")
    found = values(metrics)
    assert found["penstock_calls_in_flight"] == 3
    assert (found["penstock_reservations"], found["penstock_reserved_money"]) == (2, 1.5)
    assert found["penstock_journal_rows"] == 4
    assert found['penstock_webhook_deliveries_total{outcome="given_up"}'] == 1
    assert found['penstock_door_total{outcome="wrong_key"}'] == 2


def test_two_metrics_in_one_process_do_not_share_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.observe(row())
    assert [name for name in values(other) if name.startswith("penstock_calls_total")] == []


# -- what real calls leave ----------------------------------------------------------------------


class Seen(Metrics):
    """Metrics that keep the row, for a test to observe it together with its call."""

    row: UsageRow

    def observe(self, row: UsageRow, call: Call | None = None) -> None:
        self.row = row


async def observed(metrics: Metrics, kit: Kit, text: str = "Hello there", **params: Any) -> Call:
    kit.metrics = Seen()
    made, _ = await run(kit.gateway(), ask(text, **params))
    metrics.observe(kit.metrics.row, made)
    return made


async def test_each_stage_that_makes_a_call_wait_has_one_span_however_many_tokens_pass() -> None:
    words = " ".join(["word"] * 300)
    kit = Kit(engines={"a": FakeEngine(words), "b": FakeEngine()})
    made = await observed(Metrics(), kit)
    stages = [stage for stage, _, _ in made.spans]
    assert len(kit.moderator.calls) > 10
    assert {"scrub", "guard", "recall", "route", "generate", "moderate", "remember"} <= set(stages)
    assert len(set(stages)) == len(stages)


async def test_a_stages_span_is_what_the_call_waited_for_it() -> None:
    kit = Kit(
        scrubber=FakeScrubber(delay=0.05),
        moderator=FakeClassifier({"toxicity": ["idiot"]}, delay=0.02),
        engines={"a": FakeEngine(" ".join(["word"] * 60)), "b": FakeEngine()},
    )
    metrics = Metrics()
    made = await observed(metrics, kit)
    found = values(metrics)
    asked = len(kit.moderator.calls)
    assert asked > 2
    assert 0.05 <= found['penstock_stage_seconds_sum{stage="scrub"}'] < 0.5
    assert 0.02 * asked <= found['penstock_stage_seconds_sum{stage="moderate"}'] < 0.02 * asked + 0.5
    assert found['penstock_stage_seconds_count{stage="moderate"}'] == 1
    assert found['penstock_stage_seconds_sum{stage="guard"}'] < 0.05
    assert made.queued is not None
    assert 0.05 <= made.queued == found['penstock_queue_seconds_sum{tier="small"}'] < 0.5


async def test_a_hit_asks_no_engine_and_so_waits_in_no_queue() -> None:
    kit, metrics = Kit(), Metrics()
    await observed(Metrics(), kit)
    made = await observed(metrics, kit)
    assert made.hit
    assert (made.queued, made.gaps, made.mean_gap) == (None, 0, None)
    assert [name for name in values(metrics) if name.startswith((TPOT, "penstock_queue"))] == []


async def test_time_per_output_token_leaves_the_first_token_out() -> None:
    kit = Kit(engines={"a": FakeEngine(" ".join(["word"] * 11), tokens_per_second=50, delay=0.3), "b": FakeEngine()})
    metrics = Metrics()
    made = await observed(metrics, kit)
    found = values(metrics)
    assert made.gaps == 10
    assert 0.02 <= found[f'{TPOT}_sum{{tier="small"}}'] < 0.06
    assert made.mean_gap == pytest.approx(found[f'{TPOT}_sum{{tier="small"}}'])
    assert made.mean_gap <= found['penstock_longest_gap_seconds_sum{tier="small"}'] < 0.25


async def test_choices_that_advance_together_are_as_fast_as_one() -> None:
    kit = Kit(engines={"a": FakeEngine(" ".join(["word"] * 11), tokens_per_second=50), "b": FakeEngine()})
    metrics = Metrics()
    await observed(metrics, kit, n=4)
    assert 0.02 <= values(metrics)[f'{TPOT}_sum{{tier="small"}}'] < 0.06


@given(st.integers(min_value=0, max_value=60))
def test_gaps_are_one_fewer_than_tokens_and_no_mean_is_above_the_longest(tokens: int) -> None:
    made = call()
    for _ in range(tokens):
        made.token()
    assert made.gaps == max(0, tokens - 1)
    if made.mean_gap is None:
        assert tokens < 2
    else:
        assert 0 <= made.mean_gap <= made.longest_gap + 1e-12


async def test_a_failover_names_the_pool_that_failed_and_says_which_is_up() -> None:
    metrics = Metrics()
    await observed(metrics, Kit(engines={"a": FakeEngine(fail="before_first"), "b": FakeEngine()}))
    found = values(metrics)
    assert found['penstock_pool_failovers_total{pool="a"}'] == 1
    assert 'penstock_pool_failovers_total{pool="b"}' not in found
    assert (found['penstock_pool_up{pool="a"}'], found['penstock_pool_up{pool="b"}']) == (0, 1)
    assert found['penstock_pool_calls_total{outcome="ok",pool="b"}'] == 1
    await observed(metrics, Kit())
    assert values(metrics)['penstock_pool_up{pool="a"}'] == 1


async def test_pools_that_all_fail_are_all_down() -> None:
    metrics = Metrics()
    dead = {name: FakeEngine(fail="before_first") for name in "ab"}
    await observed(metrics, Kit(engines=dead))
    found = values(metrics)
    assert {name: found[f'penstock_pool_up{{pool="{name}"}}'] for name in "ab"} == {"a": 0, "b": 0}
    assert [name for name in found if name.startswith("penstock_pool_calls")] == []


async def test_a_request_that_no_engine_could_take_says_nothing_of_its_pool() -> None:
    metrics = Metrics()
    await observed(metrics, Kit(engines={"a": FakeEngine(context=1), "b": FakeEngine()}), "far too long")
    found = values(metrics)
    assert found['penstock_pool_calls_total{outcome="failed",pool="a"}'] == 1
    assert [name for name in found if name.startswith("penstock_pool_up")] == []


async def test_a_stage_left_by_an_error_or_a_hang_up_still_has_its_span() -> None:
    made = call()
    with pytest.raises(TimeoutError), made.timed("recall"):
        raise TimeoutError

    there = asyncio.Event()

    async def waiting() -> None:
        with made.timed("scrub"):
            there.set()
            await asyncio.sleep(60)

    task = asyncio.ensure_future(waiting())
    await there.wait()
    task.cancel()
    await asyncio.wait({task})
    assert [stage for stage, _, _ in made.spans] == ["recall", "scrub"]


# -- several gateways, one folder ---------------------------------------------------------------

GATEWAY = """
import sys
from decimal import Decimal
from app.observability.metrics import Metrics
from tests.observability.test_metrics import row
metrics = Metrics()
for line in sys.stdin:
    exec(line)
    print(flush=True)
"""


class Replica:
    """A gateway process of its own, told what to do a line at a time."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", GATEWAY],
            cwd=ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *lines: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        for line in lines:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "\n"

    def exports(self, into: Path) -> dict[str, float]:
        self.do(f"open({str(into)!r}, 'wb').write(metrics.export()[0])")
        return read(into.read_bytes())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    """Starts a gateway over the test's folder."""
    with ExitStack() as stack:

        @contextmanager
        def running() -> Iterator[Replica]:
            replica = Replica(tmp_path / "shared")
            try:
                yield replica
            finally:
                replica.kill()

        yield lambda: stack.enter_context(running())


CALLS = 'penstock_calls_total{outcome="ok",tier="small"}'


def test_any_gateway_of_a_folder_answers_for_all(start: Callable[[], Replica], tmp_path: Path) -> None:
    one, other = start(), start()
    one.do("metrics.observe(row())", "metrics.in_flight(2)", "metrics.outbox(3)", "metrics.held(9, Decimal(5))")
    other.do("metrics.observe(row())", "metrics.observe(row())", "metrics.in_flight(5)", "metrics.outbox(1)")
    other.do("metrics.held(4, Decimal(2))")
    for replica in (one, other):
        found = replica.exports(tmp_path / "out")
        assert found[CALLS] == 3
        assert found[f'{WHOLE}_count{{outcome="ok",tier="small"}}'] == 3
        assert (found["penstock_calls_in_flight"], found["penstock_journal_rows"]) == (7, 4)
        assert (found["penstock_reservations"], found["penstock_reserved_money"]) == (4, 2)


def test_a_killed_gateways_calls_stay_counted_and_are_no_longer_on_their_way(
    start: Callable[[], Replica], tmp_path: Path
) -> None:
    one, other = start(), start()
    one.do("metrics.observe(row())", "metrics.in_flight(2)")
    other.do("metrics.observe(row())", "metrics.in_flight(5)")
    other.kill()
    found = one.exports(tmp_path / "out")
    assert (found[CALLS], found["penstock_calls_in_flight"]) == (2, 2)


def test_the_first_gateway_after_all_are_dead_starts_from_nothing(start: Callable[[], Replica], tmp_path: Path) -> None:
    old = start()
    old.do("metrics.observe(row())", "metrics.in_flight(2)")
    old.kill()
    new = start()
    new.do("metrics.observe(row())")
    found = new.exports(tmp_path / "out")
    assert (found[CALLS], found["penstock_calls_in_flight"]) == (1, 0)


def test_a_dead_gateways_number_taken_by_another_process_does_not_keep_its_gauges(tmp_path: Path) -> None:
    mine, theirs = tmp_path / f"gauge_livesum_{os.getpid()}.db", tmp_path / "gauge_livesum_1.db"
    for file in (mine, theirs):
        file.write_bytes(b"")
    os.utime(theirs, (1.0, 1.0))
    bury(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
