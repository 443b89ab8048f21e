"""What the commands print, and how they read times and durations. main, admin commands -> [show] -> terminal."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console()
err = Console(stderr=True)
_WIDE = 240  # columns, where no terminal says how many it has
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SHORT = {
    "requests_per_minute": "rpm",
    "tokens_per_minute": "tpm",
    "requests_per_day": "rpd",
    "tokens_per_day": "tpd",
    "concurrent_requests": "at once",
    "budget": "budget",
}


def fail(message: str, code: int = 2) -> NoReturn:
    """Say what is wrong and leave."""
    for line in message.splitlines():
        err.print(f"[red]error[/] {escape(line)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def as_json(thing: Any) -> None:
    """Print it for a program."""
    sys.stdout.write(json.dumps(thing, indent=2, ensure_ascii=False) + "\n")


def line(text: str) -> None:
    """Print it as it is: keys, secrets, documents."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their columns; nothing is `-`. Nothing is cut off: ids are there to be copied."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        shown.add_column(column, no_wrap=not number, overflow="fold")
    for row in rows:
        shown.add_row(*("-" if cell is None or cell == "" else escape(str(cell)) for cell in row))
    (out if out.is_terminal else Console(width=_WIDE)).print(shown)


def terms(of: Mapping[str, Any]) -> str:
    """Terms in a few words; `...` for those that --json shows."""
    said = [f"{of[name]} {short}" for name, short in _SHORT.items() if of.get(name) is not None]
    return ", ".join([*said, *(["..."] if of.keys() - _SHORT.keys() - {"budget_period"} else [])])


def money(amount: str | None) -> str | None:
    """Without the zeros at its end, but for cents."""
    whole, _, parts = (amount or "").partition(".")
    return f"{whole}.{parts.rstrip('0'):<02}" if amount else None


def moment(at: float | None) -> str | None:
    """Unix seconds as UTC."""
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def seconds(text: str) -> float:
    """`90`, `30m`, `24h`, `7d` in seconds. Raises BadParameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"`{text}` is no duration: write 90s, 30m, 24h, 7d or 2w")
    return float(found[1]) * _UNITS[found[2] or "s"]


def when(text: str | None, *, ago: bool) -> float | None:
    """A UTC date or time, or a duration back from now (`ago`) or on from it, as Unix seconds. Raises BadParameter."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        span = seconds(text)
        return time.time() - span if ago else time.time() + span
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
