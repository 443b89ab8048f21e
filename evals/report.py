"""Print tables, and write them with their curves into a folder: report.md and a PNG for each kind of curve.

evals/__main__.py -> [report] -> terminal, files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from evals.table import Curve, Figure, Table

REFERENCE = {"roc", "calibration"}  # these have a diagonal to be compared with


def show(table: Table, console: Console) -> None:
    """Print one judge: its figures with intervals and goals, then thresholds and latency."""
    grid = Grid(
        title=f"{table.judge}: {table.title}", caption=table.about, title_justify="left", caption_justify="left"
    )
    grid.add_column("figure")
    for name in ("value", "95 % interval", "goal", ""):
        grid.add_column(name, justify="right")
    for figure in table.figures:
        colour = {True: "green", False: "red", None: ""}[figure.reached]
        grid.add_row(*_cells(figure), style=colour)
    console.print(grid)
    for line in _notes(table):
        console.print(line, markup=False, highlight=False)
    console.print()


def write(tables: Sequence[Table], lacking: Sequence[str], data: str, out: Path) -> Path:
    """Write report.md and its pictures into `out`, which is made; the report's path.

    lacking: judges without rows. data: what was measured on, as it is to be named. Raises OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = [f"# The judges, measured\n\nData: {data}. Intervals are 95 %, by bootstrap or Wilson's.\n"]
    for table in tables:
        parts.append(_markdown(table))
        parts += [f"![{name}]({_draw(table, kind, out)})\n" for kind, name in _kinds(table).items()]
    if lacking:
        parts.append(f"No rows for: {', '.join(lacking)}.\n")
    path = out / "report.md"
    path.write_text("\n".join(parts))
    return path


def _markdown(table: Table) -> str:
    lines = [f"## {table.judge}: {table.title}", "", table.about, "", "| figure | value | 95 % | goal | |"]
    lines.append("|---|---:|---:|---:|---|")
    lines += ["| " + " | ".join(_cells(figure)) + " |" for figure in table.figures]
    return "\n".join([*lines, "", *(f"{line}\n" for line in _notes(table))])


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    sign = "≥" if figure.higher else "≤"
    goal = "" if figure.goal is None else f"{sign} {_number(figure, figure.goal)}"
    verdict = {True: "reached", False: "missed", None: ""}[figure.reached]
    between = f"{_number(figure, figure.low)} to {_number(figure, figure.high)}"
    return figure.name, _number(figure, figure.value), between, goal, verdict


def _number(figure: Figure, value: float) -> str:
    return f"{100 * value:.1f} %" if figure.per == "percent" else f"{value:.3f}"


def _notes(table: Table) -> list[str]:
    notes = []
    if table.thresholds:
        notes.append("thresholds: " + ", ".join(f"{name} {value:g}" for name, value in table.thresholds.items()))
    notes += [f"latency, {each.what}: p50 {each.p50:.1f} ms, p99 {each.p99:.1f} ms" for each in table.latency]
    return notes


def _kinds(table: Table) -> dict[str, str]:
    """Kind of curve -> the title of its picture."""
    return {curve.kind: f"{table.judge}: {curve.kind}" for curve in table.curves}


def _draw(table: Table, kind: str, out: Path) -> str:
    """Draw a judge's curves of one kind; the file's name."""
    from matplotlib.figure import Figure as Picture  # heavy, and only here

    curves: list[Curve] = [curve for curve in table.curves if curve.kind == kind]
    picture = Picture(figsize=(6.4, 4.8), layout="constrained")
    axes = picture.add_subplot()
    if kind in REFERENCE:
        axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    for curve in curves:
        axes.plot(curve.x, curve.y, label=curve.name, marker="o" if len(curve.x) < 25 else None, markersize=3)
    axes.set_xlabel(curves[0].x_label)
    axes.set_ylabel(curves[0].y_label)
    axes.set_title(_kinds(table)[kind])
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    name = f"{table.judge}-{kind}.png"
    picture.savefig(out / name, dpi=120)
    return name
