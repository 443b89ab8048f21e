"""Run the clients and print their table.  python -m tests.conformance.clients

    python -m tests.conformance.clients                                  a graph of its own, on a free port
    python -m tests.conformance.clients --url http://127.0.0.1:8000 --key sk-...    one that runs already
    python -m tests.conformance.clients --only node,python,agents --write          the table into TABLE.md

Needs Node 18 or later with npm. The clients are installed once, from their locks, into a cache folder of their own
(PENSTOCK_CLIENTS, else ~/.cache/penstock-clients; 2.5 GB). Exit status 1: a row is not green.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.clients import agents
from tests.graph import local_config, running
from tests.kit import free_port

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs" / "how-to" / "clients.md"
WINDOW = 32768  # tokens: what Claude Code and opencode send at once is 8,000 to 20,000
TIMEOUT = 1800
SCRIPTS = ("openai.mjs", "anthropic.mjs", "vercel.mjs")


@dataclass(frozen=True)
class Row:
    """What one client did with one feature. detail: what went wrong."""

    client: str
    feature: str
    ok: bool
    detail: str = ""


def home() -> Path:
    return Path(os.environ.get("PENSTOCK_CLIENTS") or Path.home() / ".cache" / "penstock-clients")


def node() -> Path:
    """The folder with the npm clients and their scripts, installed."""
    folder = home() / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (HERE / "node").iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    if not _fresh(folder, HERE / "node" / "package-lock.json"):
        _run(["npm", "ci", "--no-audit", "--no-fund"], folder)
        for script in ("@anthropic-ai/claude-code/install.cjs", "opencode-ai/postinstall.mjs"):
            _run(["node", f"node_modules/{script}"], folder)
        _stamp(folder, HERE / "node" / "package-lock.json")
    return folder


def python(lock: str) -> Path:
    """The commands of an environment with the clients of a lock, installed."""
    folder, file = home() / lock, HERE / "python" / f"{lock}.txt"
    if not _fresh(folder, file):
        _run([sys.executable, "-m", "venv", str(folder)], HERE)
        _run([str(folder / "bin" / "pip"), "install", "-q", "--no-deps", "-r", str(file)], HERE)
        _stamp(folder, file)
    return folder / "bin"


def rows(only: list[str], url: str, key: str) -> Iterator[Row]:
    env = {**os.environ, "PENSTOCK_URL": url, "PENSTOCK_KEY": key, "PENSTOCK_MODEL": "small"}
    if "node" in only:
        folder = node()
        for script in SCRIPTS:
            yield from _told(["node", script], folder, env)
    if "python" in only:
        yield from _told([str(python("requirements") / "python"), str(HERE / "python" / "clients.py")], HERE, env)
    if "agents" in only:
        commands, aider = node() / "node_modules" / ".bin", python("aider") / "aider"
        for session in agents.sessions(url, key, commands, aider, "small"):
            with tempfile.TemporaryDirectory() as folder_name:
                ok, detail = agents.run(session, Path(folder_name))
            length = detail.startswith("the model")
            yield Row(session.client, "session", ok, detail if length or not ok else "")


def _told(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[Row]:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield Row(**json.loads(line))
    if done.returncode:
        yield Row(Path(command[1]).name, "ends", ok=False, detail=done.stderr[-300:])


def table(found: list[Row]) -> str:
    """Markdown: a row a client, a column a feature."""
    features = list(dict.fromkeys(row.feature for row in found))
    lines = [f"| client | {' | '.join(features)} |", "|---" * (len(features) + 1) + "|"]
    for client in dict.fromkeys(row.client for row in found):
        cells = {row.feature: _cell(row) for row in found if row.client == client}
        lines.append(f"| {client} | {' | '.join(cells.get(feature, '') for feature in features)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    """m: only the model's size stood in the way."""
    return ("m" if row.detail else "ok") if row.ok else "**fails**"


def _fresh(folder: Path, lock: Path) -> bool:
    stamp = folder / ".lock"
    return stamp.exists() and stamp.read_bytes() == lock.read_bytes()


def _stamp(folder: Path, lock: Path) -> None:
    (folder / ".lock").write_bytes(lock.read_bytes())


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)


def main() -> int:
    parser = argparse.ArgumentParser(description="which clients work, unmodified")
    parser.add_argument("--url")
    parser.add_argument("--key")
    parser.add_argument("--only", default="node,python,agents")
    parser.add_argument("--write", action="store_true", help="the table into TABLE.md beside this file")
    args = parser.parse_args()
    with ExitStack() as stack:
        url, key = args.url, args.key
        if not url:
            folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
            document = local_config(port)
            pool = document["applications"][0]["args"]["pools"]["smol-a"]
            pool |= {"max_context": WINDOW, "env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}}
            pool["engine_kwargs"] |= {"kv_cache_memory_bytes": 2**30}
            graph = stack.enter_context(running(folder, document, port))
            url, key = graph.url, graph.key
        found = []
        for row in rows(args.only.split(","), url, key):
            found.append(row)
            print(f"{'ok   ' if row.ok else 'FAILS'} {row.client}: {row.feature} {row.detail}", flush=True)
    print("\n" + table(found))
    if args.write:
        (HERE / "TABLE.md").write_text(table(found), encoding="utf-8")
        page, _, _ = DOCS.read_text(encoding="utf-8").partition("| client | chat |")
        DOCS.write_text(page + table(found), encoding="utf-8")
    return 0 if all(row.ok for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
