"""The plan's tables, as rows of words: for the terminal and the report alike. plan -> [tables] -> cli, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from app.planner.outcome import Outcome, Spread
from app.planner.plan import Answer, Plan
from app.planner.trace import DAY_S

TITLES = {
    "configured": "As configured, with its autoscaling, at the asked load",
    "switches": "The fewest replicas that keep the service level, and what each economy is worth",
    "ten times": "The same at ten times the load",
    "users": "The same for the asked users",
    "strict": "For the users, with at most 30 ms between tokens",
    "repeating": "For the users, where prompts repeat themselves",
    "gpus": "Which GPU: every pool of ours on it, and each on its cheapest",
    "sensitivity": "What the answer hangs on",
}
_COLUMNS = ("", "replicas", "GPUs", "good", "TTFT p50/p95/p99", "gap p95", "shed", "failed", "cost/day", "cost/1M",
            "revenue/day", "margin")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """A title, columns, and rows of as many words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(plan: Plan) -> list[Table]:
    """All of them, in the order of the report."""
    by_name = [Table(title, _COLUMNS, [_row(one) for one in plan.table(name)]) for name, title in TITLES.items()]
    first = plan.table("switches")[0].outcome if plan.table("switches") else plan.answers[0].outcome
    return [_load(plan), *by_name, _fleets(first), _tiers(first), _judges(first), _claims(plan), _assumed(plan)]


def _row(one: Answer) -> list[str]:
    found, money = one.outcome, one.outcome.money
    return [
        one.label + ("" if one.met else " (service level missed)"),
        _replicas(one),
        f"{found.gpus:,.4g}",
        f"{found.good:.1%}",
        _spread(found.first_s),
        _time(found.gap_s.p95),
        f"{found.shed:,}",
        f"{found.failed:,}",
        f"{money.cost:,.0f}",
        f"{money.cost_per_million:.3f}",
        f"{money.revenue:,.0f}",
        f"{money.margin:.0%}" if money.revenue else "-",
    ]


def _replicas(one: Answer) -> str:
    held: dict[str, float] = {**one.replicas} or {
        name: round(fleet.replicas, 1) for name, fleet in one.outcome.fleets.items()
    }
    words = ", ".join(f"{name} {count:g}" for name, count in held.items() if count)
    return f"{one.outcome.cells} x ({words})" if one.outcome.cells > 1 else words


def _load(plan: Plan) -> Table:
    asked, seen = plan.asked, plan.recorded
    each_in, each_out = seen.prompt_tokens / seen.calls, seen.output_tokens / seen.calls
    a_second = asked.tokens_per_day / (each_in + each_out) / DAY_S
    rows = [
        ["the trace", f"{seen.calls:,} calls in {seen.span_s:,.0f} s, {seen.tokens_per_day / 1e9:.2f}B tokens a day"],
        ["a call, on average", f"{each_in:,.0f} tokens in, {each_out:,.0f} out"],
        ["asked", f"{asked.tokens_per_day / 1e9:g}B tokens a day: {a_second:,.1f} calls a second"],
        [
            f"{asked.users:,} users at once",
            f"an answer, then {asked.think_s:g} s of thought: {plan.users_tokens_per_day / 1e9:,.1f}B tokens a day",
        ],
        ["if they shared the asked load", f"a user would ask once in {plan.gap_per_user_s / 60:,.0f} minutes"],
        *([f"profile of {name}", source] for name, source in plan.sources.items()),
    ]  # fmt: skip
    return Table("The load, and what the engines are taken to do", ("", ""), rows)


def _fleets(found: Outcome) -> Table:
    rows = [
        [name, f"{one.replicas:.1f}", f"{one.most_replicas}", f"{one.gpus:.1f}", f"{one.busy:.0%}", _spread(one.gaps)]
        for name, one in found.fleets.items()
    ]
    columns = ("pool", "replicas", "at most", "GPUs", "a step runs", "between tokens p50/p95/p99")
    return Table(f"Pools: {found.name}", columns, rows)


def _tiers(found: Outcome) -> Table:
    rows = [
        [name, f"{one.calls:,}", f"{one.prompt_tokens:,}", f"{one.cached_tokens:,}", f"{one.output_tokens:,}",
         f"{one.good:.1%}", _spread(one.first_s)]
        for name, one in found.tiers.items()
    ]  # fmt: skip
    columns = ("tier", "calls", "tokens in", "of them cached", "tokens out", "good", "TTFT p50/p95/p99")
    return Table(f"Tiers: {found.name}", columns, rows)


def _judges(found: Outcome) -> Table:
    rows = [
        [name, f"{one.busy:.2f}", f"{one.needed}", f"{one.most}", "" if one.needed <= one.most else "too few allowed"]
        for name, one in found.judges.items()
    ]
    return Table(f"Gateway and judges: {found.name}", ("", "busy", "replicas needed", "allowed", ""), rows)


def _claims(plan: Plan) -> Table:
    rows = [
        [one.what, f"{one.customary:.0%}", one.where, f"{one.found:.0%}", "holds" if one.holds else "does not hold"]
        for one in plan.claims
    ]
    return Table("Customary figures of what is saved", ("", "customary", "where", "found", ""), rows)


def _assumed(plan: Plan) -> Table:
    rows = [[one.name, _plain(getattr(plan.assumed, one.name))] for one in fields(plan.assumed)]
    return Table("Assumed: neither the trace nor the config says it", ("", ""), rows)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name} {share:.3g}" if isinstance(share, float) else f"{name} {share}" for name, share in value.items()
        )
    return f"{len(value)} scores" if isinstance(value, tuple) else str(value)


def _spread(one: Spread) -> str:
    return " / ".join(_time(part) for part in (one.p50, one.p95, one.p99))


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
