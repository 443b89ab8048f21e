"""The plan as one HTML file that needs no other, and as JSON. plan -> [report] -> cli."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from app.planner.plan import Answer, Plan
from app.planner.tables import Table, tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 2rem; font-size: 13px; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #d9e2ec; vertical-align: top; }
th { font-weight: 600; } img { max-width: 100%; } h2 { margin-top: 2rem; font-size: 1.1rem; }
"""
_FIRST = (
    "Found by simulation: recorded arrivals through a model of the configured graph. Engines of which a profile says "
    "“roofline” are reckoned from data sheets and not measured; `penstock profile` measures one. The sizes are the "
    "fewest replicas that keep the service level on the busiest stretch of the trace: add one to a pool that must "
    "survive the loss of a replica without missing it."
)

_READING = """
Routing saves what the calls would cost on the largest tier, less what the smaller tiers hold. By list price that is
a matter of the shares alone. On GPUs of one's own it comes near only where each tier's work fills its replicas: at
a small load the largest tier holds its least size for few calls, and the saving is small.

A cached prompt token is cheaper by its discount on the bill, and free only of prefill on a GPU: decoding and the
weights' memory stay. So prompt caching saves little where replicas are bound by decoding or by their least number.

Prefill and decode apart are two fleets, each with a least size: they cost more at a small load and do not raise
throughput. They pay where tokens must come at a strict, even pace, because one fleet would need slack to keep it.

“Good” is the part of the calls within the service level, “gap” the mean time between an answer's tokens. A replica
counts as held from the start of its cold start on. Not in the model: preemption, speculative decoding, quantised
weights, failures of the network; and a GPU that two replicas share is taken as two halves.
"""


def write(plan: Plan, folder: Path) -> list[Path]:
    """Write `report.html`, `plan.json` and the charts into `folder`, which is made. Raises OSError."""
    from app.planner.charts import charts

    folder.mkdir(parents=True, exist_ok=True)
    drawn = charts(plan)
    files = {f"{name}.png": png for name, png in drawn.items()}
    files["report.html"] = html(plan, drawn).encode()
    files["plan.json"] = (json.dumps(as_json(plan), indent=2) + "\n").encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def html(plan: Plan, drawn: Mapping[str, bytes]) -> str:
    """The report, with its charts inside."""
    parts = [f"<h1>Capacity plan</h1><p>{escape(_FIRST)}</p>"]
    parts += [_table(one) for one in tables(plan) if one.rows]
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in _READING.strip().split("\n\n"))
    parts += [f"<h2>How to read it</h2>{paragraphs}"]
    parts += [_image(name, png) for name, png in drawn.items()]
    head = f"<meta charset=utf-8><title>Capacity plan</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for a program: names as in the dataclasses, with what they reckon."""
    claims = [{**asdict(one), "holds": one.holds} for one in plan.claims]
    return {**asdict(plan), "answers": [_answer(one) for one in plan.answers], "claims": claims}


def _answer(one: Answer) -> dict[str, Any]:
    found = asdict(one)
    found["outcome"]["gpus"] = one.outcome.gpus
    found["outcome"]["money"] |= {"cost": one.outcome.money.cost, "margin": one.outcome.money.margin}
    return found


def _table(one: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in one.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in one.rows)
    return f"<h2>{escape(one.title)}</h2><table><tr>{head}</tr>{rows}</table>"


def _image(name: str, png: bytes) -> str:
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
