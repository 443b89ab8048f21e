"""Reports: every sum exact, in both databases, by whatever is asked."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.billing.reports import By, Percentiles, Summary, percentiles_by, usage_by
from app.db.store import Store
from tests.contracts.usage_kit import NOON, fill, fresh, used
from tests.examples import examples

GROUPS: dict[By, str] = {
    "tenant": "tenant",
    "project": "project",
    "key": "key_id",
    "model": "model_id",
    "tier": "tier",
    "pool": "pool",
    "region": "region",
}
SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens")
MONEY = ("input_cost", "cached_cost", "output_cost", "cost", "goods")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    made = Store(database_url)
    yield made
    await made.close()


async def test_a_summary_counts_and_sums_its_calls(store: Store) -> None:
    await fill(
        store,
        used(ttft=0.5, latency=1.0),
        used(ttft=0.25, latency=2.0, goods=600),
        used(outcome="hit", ttft=None, latency=0.0),
    )
    expected = Summary(
        group="acme", calls=3, refused=0, failed=0, hits=1, prompt_tokens=300, cached_tokens=30, completion_tokens=60,
        input_cost=Decimal("0.0000015"), cached_cost=Decimal("0.0000003"), output_cost=Decimal("0.0000012"),
        cost=Decimal("0.000003"), goods=Decimal("0.0000014"), ttft=0.375, latency=1.0,
    )  # fmt: skip
    assert [expected] == await usage_by(store, "tenant")
    assert (Decimal("0.0000016"), Decimal("0.5333")) == (expected.margin, expected.margin_share)


async def test_refused_failed_and_lost_calls_are_told_apart_from_the_answered(store: Store) -> None:
    outcomes = ("ok", "ok", "refused", "failed", "lost", "hangup", "hit")
    await fill(store, *(used(outcome=outcome) for outcome in outcomes))
    summary = (await usage_by(store, "tenant"))[0]
    assert (7, 1, 2, 1) == (summary.calls, summary.refused, summary.failed, summary.hits)


async def test_a_group_that_was_billed_nothing_has_a_margin_but_no_share_of_it(store: Store) -> None:
    await fill(store, used(input_cost=0, cached_cost=0, output_cost=0, goods=7))
    summary = (await usage_by(store, "pool"))[0]
    assert (Decimal("-7e-9"), None) == (summary.margin, summary.margin_share)


@pytest.mark.parametrize("by", GROUPS)
async def test_every_grouping_tells_its_groups_apart(store: Store, by: By) -> None:
    await fill(store, used(**{GROUPS[by]: "b"}), used(**{GROUPS[by]: "a"}), used(**{GROUPS[by]: "a"}))
    assert [("a", 2), ("b", 1)] == [(one.group, one.calls) for one in await usage_by(store, by)]


@pytest.mark.parametrize("by", ["model", "tier", "pool", "region"])
async def test_calls_that_reached_none_are_one_group_without_a_name(store: Store, by: By) -> None:
    await fill(store, used(), used(**{GROUPS[by]: None}), used(**{GROUPS[by]: None}))
    assert [("", 2)] == [(one.group, one.calls) for one in await usage_by(store, by)][:1]


async def test_a_report_holds_only_the_tenant_and_the_time_it_was_asked_for(store: Store) -> None:
    await fill(store, *(used(created=NOON + after, tenant=who) for after in range(5) for who in ("acme", "other")))
    within = await usage_by(store, "tenant", since=NOON + 1, until=NOON + 4, tenant="acme")
    assert [("acme", 3)] == [(one.group, one.calls) for one in within]


async def test_nothing_used_is_an_empty_report(store: Store) -> None:
    assert [] == await usage_by(store, "day")
    assert {} == await percentiles_by(store, "day", "latency")


async def test_a_day_ends_at_midnight_utc_to_the_last_fraction_of_a_second(store: Store) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    await fill(store, *(used(created=at) for at in (math.nextafter(midnight, 0), midnight - 0.4, midnight)))
    days = [(one.group, one.calls) for one in await usage_by(store, "day")]
    assert [("2026-02-28", 2), ("2026-03-01", 1)] == days


async def test_sums_beyond_a_doubles_precision_are_exact(store: Store) -> None:
    most = 2**62
    await fill(
        store, used(input_cost=most, cached_cost=0, output_cost=0), used(input_cost=3, cached_cost=0, output_cost=0)
    )
    assert Decimal(most + 3).scaleb(-9) == (await usage_by(store, "tenant"))[0].cost


async def test_percentiles_are_times_that_calls_really_took(store: Store) -> None:
    await fill(
        store, *(used(latency=float(n), ttft=None) for n in range(1, 201)), used(latency=7.0, ttft=0.5, tier="l")
    )
    assert {"l": Percentiles(7.0, 7.0, 7.0), "small": Percentiles(100.0, 190.0, 198.0)} == await percentiles_by(
        store, "tier", "latency"
    )
    assert {"l": Percentiles(0.5, 0.5, 0.5)} == await percentiles_by(store, "tier", "ttft")


nano = st.integers(0, 10**15)
counts = st.integers(0, 10**6)
rows = st.builds(
    used,
    created=st.floats(NOON - 3 * 86_400, NOON + 3 * 86_400),
    project=st.sampled_from(["", "web", "app"]),
    tier=st.sampled_from(["small", "large", None]),
    outcome=st.sampled_from(["ok", "hit", "refused", "failed", "hangup", "lost"]),
    prompt_tokens=counts,
    cached_tokens=counts,
    completion_tokens=counts,
    input_cost=nano,
    cached_cost=nano,
    output_cost=nano,
    goods=nano,
    latency=st.floats(0, 600),
)
KEYS: dict[By, Callable[[dict[str, Any]], str]] = {
    "project": lambda row: str(row["project"]),
    "tier": lambda row: row["tier"] or "",
    "day": lambda row: datetime.fromtimestamp(math.floor(row["created"]), UTC).date().isoformat(),
}


def by_hand(calls: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> dict[str, tuple[Any, ...]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in calls:
        groups.setdefault(key(row), []).append(row)
    return {
        name: (
            len(group),
            *(sum(row[column] for row in group) for column in SUMS),
            *(Decimal(sum(row[column] for row in group)).scaleb(-9) for column in MONEY),
            sorted(row["latency"] for row in group)[math.ceil(len(group) * 95 / 100) - 1],
        )
        for name, group in groups.items()
    }


@given(st.lists(rows, max_size=25), st.sampled_from(list(KEYS)))
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_report_agrees_with_a_sum_by_hand(store: Store, calls: list[dict[str, Any]], by: By) -> None:
    tenant = fresh("tenant")  # usage rows are never deleted: each example has its own
    calls = [{**row, "id": fresh("call"), "tenant": tenant} for row in calls]
    if calls:
        await fill(store, *calls)
    slow = await percentiles_by(store, by, "latency", tenant=tenant)
    found = {
        one.group: (
            one.calls,
            *(getattr(one, column) for column in (*SUMS, *MONEY)),
            slow[one.group].p95,
        )
        for one in await usage_by(store, by, tenant=tenant)
    }
    assert by_hand(calls, KEYS[by]) == found
