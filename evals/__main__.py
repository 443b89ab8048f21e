"""Measure the judges on a folder of data: print their tables, write a report with curves.

    make eval DATA=folder
    make eval ARGS="--data folder --out folder --only toxicity,same"

Rows are told apart by their fields (evals/README.md). A judge without rows is named and passed over. Exit status 2: no
row fits any judge, a row is broken, or a model is not prepared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console

from app.models.errors import ModelError
from evals.data import FORMATS, BadRowError, survey
from evals.report import show, write
from evals.table import Table

SHORT = Path(__file__).parent / "short"


def main(argv: Sequence[str] | None = None) -> int:
    """Run; the exit status."""
    args = _arguments(argv)
    console = Console()
    try:
        return _run(args, console)
    except (BadRowError, ModelError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2


def measure(judge: str, data: Path, *, short: bool) -> Table | None:
    """One judge's table; None without rows for it. Raises BadRowError, ModelError."""
    found: Table | None = import_module(f"evals.{judge}").measure(data, short=short)
    return found


def _run(args: argparse.Namespace, console: Console) -> int:
    data: Path = SHORT if args.short else args.data
    if not data.exists():
        console.print(f"error: {data}: no such folder: name one that holds *.jsonl", style="red", soft_wrap=True)
        return 2
    counts, strange = survey(data)
    if not any(counts.values()):
        console.print(f"error: {data} has no row for any judge. {_formats()}", style="red", soft_wrap=True)
        return 2
    if strange:
        console.print(f"{strange} rows have the fields of no judge and are passed over")
    tables, lacking = [], []
    for judge in args.only:
        began = time.monotonic()
        table = measure(judge, data, short=args.short) if counts[judge] else None
        if table is None:
            console.print(f"{judge}: no rows in {data}, passed over", soft_wrap=True)
            lacking.append(judge)
            continue
        tables.append(table)
        show(table, console)
        console.print(f"{judge} took {time.monotonic() - began:.0f} s\n", style="dim")
    console.print(f"report: {write(tables, lacking, data.name, args.out)}", soft_wrap=True)
    return 0


def _formats() -> str:
    """Every format, for those who have none of them."""
    said = [f"{judge}: {' or '.join(', '.join(one) for one in formats)}" for judge, formats in FORMATS.items()]
    return "A judge is measured on rows with these fields (evals/README.md): " + "; ".join(said)


def _judges(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in FORMATS:
            message = f"no judge {name!r}: choose from {', '.join(FORMATS)}"
            raise argparse.ArgumentTypeError(message)
    return names


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("evals", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--data", type=Path, help="a folder of *.jsonl, or one such file")
    which.add_argument("--short", action="store_true", help="the few rows of evals/short, as the tests do")
    parser.add_argument("--out", type=Path, default=Path("eval-report"), help="folder of the report, made if missing")
    parser.add_argument("--only", type=_judges, default=list(FORMATS), help=f"of {','.join(FORMATS)}")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
