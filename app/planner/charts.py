"""The plan's charts, as PNG. plan -> [charts] -> report. Drawn without a display and without pyplot's global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.planner.plan import Answer, Plan

INK, GOOD, BAD, SOFT = "#1f2933", "#2f7d6b", "#b4552d", "#8aa1b1"
Draw = Callable[[Any], None]


def charts(plan: Plan) -> dict[str, bytes]:
    """File name without its ending -> PNG."""
    return {
        "cost": _png(lambda axes: _bars(axes, plan.table("switches"), "cost of a day", _cost)),
        "gpus": _png(lambda axes: _bars(axes, plan.table("gpus"), "cost of a day, by GPU", _cost)),
        "users": _png(
            lambda axes: _bars(axes, plan.table("users"), "GPUs for the users", lambda one: one.outcome.gpus)
        ),
        "latency": _png(lambda axes: _latency(axes, plan.table("switches"))),
        "claims": _png(lambda axes: _claims(axes, plan)),
        "sensitivity": _png(lambda axes: _bars(axes, plan.table("sensitivity"), "cost of 1M tokens", _each), tall=True),
    }


def _cost(one: Answer) -> float:
    return one.outcome.money.cost


def _each(one: Answer) -> float:
    return one.outcome.money.cost_per_million


def _png(draw: Draw, *, tall: bool = False) -> bytes:
    figure = Figure(figsize=(9, 6.5 if tall else 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    draw(axes)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()


def _bars(axes: Any, rows: Sequence[Answer], title: str, value: Callable[[Answer], float]) -> None:
    """One bar a row; a row that misses the service level is of another colour."""
    names = [_short(one.label) for one in rows][::-1]
    values = [value(one) for one in rows][::-1]
    colours = [GOOD if one.met else BAD for one in rows][::-1]
    drawn = axes.barh(range(len(names)), values, color=colours)
    axes.set_yticks(range(len(names)), names)
    axes.bar_label(drawn, fmt=_label, fontsize=8, padding=3)
    axes.set_title(f"{title} (green: the service level is kept)", loc="left", fontsize=10, color=INK)


def _latency(axes: Any, rows: Sequence[Answer]) -> None:
    """Time to first token: median, 95th and 99th percentile."""
    names = [_short(one.label) for one in rows][::-1]
    for colour, mark, label in ((SOFT, "o", "p50"), (GOOD, "s", "p95"), (BAD, "D", "p99")):
        values = [getattr(one.outcome.first_s, label) for one in rows][::-1]
        axes.plot(values, range(len(names)), mark, color=colour, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_title("seconds to the first token", loc="left", fontsize=10, color=INK)


def _claims(axes: Any, plan: Plan) -> None:
    names = [_short(f"{one.what}, {one.where}", 70) for one in plan.claims][::-1]
    found = [100 * one.found for one in plan.claims][::-1]
    colours = [GOOD if one.holds else BAD for one in plan.claims][::-1]
    axes.barh(range(len(names)), found, color=colours)
    axes.plot([100 * one.customary for one in plan.claims][::-1], range(len(names)), "|", color=INK, markersize=9)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_title("percent of the cost saved; the mark is the customary figure", loc="left", fontsize=10, color=INK)


def _short(text: str, most: int = 44) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
