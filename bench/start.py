"""How long from `penstock serve` to the first answer, and how much memory the whole graph takes.

    python bench/start.py [FILE]

Prints seconds, and GiB as the sum of proportional set sizes (PSS: shared pages counted once) over every process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import openai
import psutil
import yaml

ROOT = Path(__file__).parents[1]


def main(file: str) -> None:
    """Start, ask once, measure, stop."""
    port = yaml.safe_load(Path(file).read_text())["http_options"]["port"]
    with tempfile.TemporaryDirectory() as state:
        env = {**os.environ, "PENSTOCK_STATE": state}
        out = Path(state) / "out"
        started = time.monotonic()
        with out.open("w") as sink:
            command = [str(Path(sys.executable).with_name("penstock")), "serve", file]
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=sink, stderr=sink)
        try:
            while "Penstock is ready" not in out.read_text():
                if process.poll() is not None:
                    sys.exit(out.read_text())
                time.sleep(0.1)
            ready = time.monotonic() - started
            ask(port, (Path(state) / "development.key").read_text())
            print(f"ready after {ready:.1f} s, first answer after {time.monotonic() - started:.1f} s")
            report(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def ask(port: int, key: str) -> None:
    """One short answer."""
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key)
    client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello!"}], max_tokens=8)


def report(process: subprocess.Popen[bytes]) -> None:
    """Every process' share of memory, the largest first, and the sum."""
    rows = []
    for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        try:
            rows.append((each.memory_full_info().pss, " ".join(each.cmdline())[:60]))
        except psutil.Error:
            continue
    for size, name in sorted(rows, reverse=True)[:16]:
        print(f"{size / 2**30:6.2f} GiB  {name}")
    print(f"{sum(size for size, _ in rows) / 2**30:6.2f} GiB  in {len(rows)} processes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "serve_config.yaml"))
