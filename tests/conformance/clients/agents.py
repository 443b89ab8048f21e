"""Coding agents, unmodified, a session each in a folder of its own.  __main__ -> [agents] -> the agents' programs.

Each session is what a user does first: a folder with project rules (CLAUDE.md, AGENTS.md) and a small program, one
question, no further input. It holds where the agent ends well and says something.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

RULES = "# Working here\n\nUse tabs. Run `make test` before committing. Never edit generated files.\n"
PROGRAM = "def add(a, b):\n    return a - b\n"
SECONDS = 600


@dataclass(frozen=True)
class Session:
    """client: its name in the table. command: what is run. files: beside RULES and PROGRAM. env: beside PATH, HOME."""

    client: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def sessions(url: str, key: str, node: Path, aider: Path, model: str) -> Iterator[Session]:
    """node: the folder of npm's commands. aider: its command."""
    claude = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "64",
        "IS_SANDBOX": "1",
    }
    yield Session("Claude Code", (str(node / "claude"), "-p", "fix the bug in a.py"), claude)
    codex = (
        f'model = "{model}"\nmodel_provider = "penstock"\n[model_providers.penstock]\nname = "Penstock"\n'
        f'base_url = "{url}/v1"\nenv_key = "PENSTOCK_KEY"\nwire_api = "responses"\n'
    )
    command = (str(node / "codex"), "exec", "--skip-git-repo-check", "say hi")
    yield Session("Codex CLI", command, {"PENSTOCK_KEY": key}, {".codex/config.toml": codex})
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Penstock",
        "options": {"baseURL": f"{url}/v1", "apiKey": key},
        "models": {model: {"name": model, "limit": {"context": 32768, "output": 64}}},
    }
    opencode = {"model": f"penstock/{model}", "small_model": f"penstock/{model}", "provider": {"penstock": provider}}
    yield Session(
        "opencode", (str(node / "opencode"), "run", "say hi"), {}, {"opencode.json": json.dumps(opencode, indent=1)}
    )
    words = ["--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings", "--no-analytics"]
    yield Session(
        "aider",
        (str(aider), "--model", f"openai/{model}", *words, "--message", "fix the bug in add", "a.py"),
        {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": key},
    )


LENGTH = ("output token maximum", "reason: max_output_tokens")
"""What agents say where the model did not come to an end: a model of 135 million parameters often does not."""


def run(session: Session, folder: Path) -> tuple[bool, str]:
    """Whether it held, and what was said where it did not. folder: empty; its home and its project lie there.

    An answer that fills its limit is the model's fault, not ours.
    """
    for name, text in {"CLAUDE.md": RULES, "AGENTS.md": RULES, "a.py": PROGRAM, **session.files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "CODEX_HOME": str(folder / ".codex"), **session.env}
    try:
        done = subprocess.run(
            session.command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f"no end within {SECONDS} s"
    said = done.stdout.strip()
    refused = next((line for line in (done.stdout + done.stderr).splitlines() if _fault(line)), "")
    if any(sign in refused for sign in LENGTH):
        return True, "the model did not come to an end"
    return done.returncode == 0 and bool(said) and not refused, (refused or said[-200:] or done.stderr[-300:])[:300]


def _fault(line: str) -> bool:
    return any(sign in line for sign in ("API Error", "ERROR:", "litellm.", "PolicyViolation", "invalid_request_error"))
