"""`penstock batch submit | status | get | cancel | list`, over the API of a running graph. main -> [batch] -> HTTP."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from app.cli import output

batch = typer.Typer(no_args_is_help=True, help="Many requests in a file, at batch price.")
Url = Annotated[str, typer.Option(envvar="PENSTOCK_URL", help="Where the graph serves.")]
Key = Annotated[str | None, typer.Option(envvar="PENSTOCK_KEY", help="Default: the development key.")]
Json = Annotated[bool, typer.Option("--json", help="Print what the API answers.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it has ended.")]
Id = Annotated[str, typer.Argument(help="batch_...")]
LOCAL = "http://127.0.0.1:8000"
ENDED = ("completed", "failed", "expired", "cancelled")
PATIENCE = 600.0
"""Seconds: a large file takes that long to send."""
LOOK = 1.0


@contextmanager
def _api(url: str, key: str | None) -> Iterator[httpx.Client]:
    """A client; leaves with the API's own words where it says no."""
    from app.installation.paths import development_key

    headers = {"Authorization": f"Bearer {key or development_key()}"}
    try:
        with httpx.Client(base_url=f"{url}/v1", headers=headers, timeout=PATIENCE) as api:
            yield api
    except httpx.HTTPStatusError as error:
        try:
            said = str(error.response.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = f"{url} answered {error.response.status_code}: is it Penstock's URL?"
        output.fail(said)
    except httpx.HTTPError as error:
        output.fail(f"cannot reach {url}: {error or type(error).__name__}. Is the graph running?")


def _json(answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


@batch.command()
def submit(
    file: Annotated[
        Path, typer.Argument(help="JSON lines: custom_id, method, url, body.", exists=True, dir_okay=False)
    ],
    *,
    endpoint: Annotated[str | None, typer.Option(help="Default: the first line's url.")] = None,
    wait: Wait = False,
    url: Url = LOCAL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Upload FILE and begin a batch over it; print its id."""
    with _api(url, key) as api:
        with file.open("rb") as lines:
            sent = {"file": (file.name, lines, "application/jsonl")}
            uploaded = _json(api.post("/files", data={"purpose": "batch"}, files=sent))
        asked = {"input_file_id": uploaded["id"], "endpoint": endpoint or _endpoint(file), "completion_window": "24h"}
        made = _json(api.post("/batches", json=asked))
        if not as_json:
            output.line(made["id"])
        _told(_waited(api, made) if wait else made, as_json=as_json, quiet=not wait)


@batch.command()
def status(id_: Id, *, wait: Wait = False, url: Url = LOCAL, key: Key = None, as_json: Json = False) -> None:
    """Say how far a batch is."""
    with _api(url, key) as api:
        found = _json(api.get(f"/batches/{id_}"))
        _told(_waited(api, found) if wait else found, as_json=as_json)


@batch.command()
def get(
    id_: Id,
    *,
    to: Annotated[Path | None, typer.Option(help="A file; default: print it.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="The lines that failed instead.")] = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Fetch what an ended batch answered."""
    with _api(url, key) as api:
        found = _json(api.get(f"/batches/{id_}"))
        file = found["error_file_id" if errors else "output_file_id"]
        if file is None:
            kind = "errors" if errors else "output"
            output.fail(f"{id_} has no {kind}: its status is {found['status']}", 1)
        _fetch(api, file, to)


@batch.command()
def cancel(id_: Id, *, url: Url = LOCAL, key: Key = None, as_json: Json = False) -> None:
    """Stop a batch; what is answered is kept."""
    with _api(url, key) as api:
        _told(_json(api.post(f"/batches/{id_}/cancel")), as_json=as_json)


@batch.command("list")
def list_batches(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    url: Url = LOCAL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """List batches, newest first."""
    with _api(url, key) as api:
        found = _json(api.get("/batches", params={"limit": limit}))
    if as_json:
        return output.as_json(found)
    columns = ("batch", "status", "endpoint", "lines", "completed", "failed", "created")
    return output.table(columns, [_row(one) for one in found["data"]])


def _row(one: dict[str, Any]) -> list[Any]:
    counts = one["request_counts"]
    numbers = (counts["total"], counts["completed"], counts["failed"])
    return [one["id"], one["status"], one["endpoint"], *numbers, output.moment(one["created_at"])]


def _endpoint(file: Path) -> str:
    with file.open("rb") as lines:
        try:
            return str(json.loads(lines.readline())["url"])
        except (ValueError, KeyError, TypeError):
            return output.fail(f"the first line of {file} has no url: name the batch's --endpoint")


def _fetch(api: httpx.Client, file: str, to: Path | None) -> None:
    with api.stream("GET", f"/files/{file}/content") as answer:
        if answer.is_error:
            answer.read()  # while it can be
        answer.raise_for_status()
        try:
            out = to.open("wb") if to else sys.stdout.buffer
            for piece in answer.iter_bytes():
                out.write(piece)
            out.flush()
            if to:
                out.close()
        except OSError as error:
            output.fail(f"cannot write {to or 'the output'}: {error.strerror}")


def _waited(api: httpx.Client, found: dict[str, Any]) -> dict[str, Any]:
    """The batch once it has ended, behind a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=output.err) as progress:
        bar = progress.add_task(found["status"], total=None)
        while True:
            counts = found["request_counts"]
            done = counts["completed"] + counts["failed"]
            progress.update(bar, description=found["status"], total=counts["total"] or None, completed=done)
            if found["status"] in ENDED:
                return found
            time.sleep(LOOK)
            found = _json(api.get(f"/batches/{found['id']}"))


def _told(found: dict[str, Any], *, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        return output.as_json(found)
    if quiet:
        return None
    counts = found["request_counts"]
    output.line(
        f"{found['status']}: {counts['completed']} of {counts['total']} lines answered, {counts['failed']} failed"
    )
    for problem in (found["errors"] or {"data": []})["data"]:
        where = f"line {problem['line']}: " if problem["line"] else ""
        output.line(f"{where}{problem['message']}")
    return None
