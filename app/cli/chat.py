"""`penstock chat`: a conversation in the terminal, streamed."""

from __future__ import annotations

import httpx
import orjson
from rich.console import Console

SHOWN = ("tier", "pool", "cache", "complexity", "scrubbed")


def talk(console: Console, url: str, key: str, model: str) -> None:
    """Ask, stream the answer, ask again. Ends with Ctrl-D or Ctrl-C."""
    console.print(f"[dim]{url}, model {model}. Ctrl-D ends.[/]")
    messages: list[dict[str, str]] = []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=300) as http:
        while True:
            messages.append({"role": "user", "content": console.input("[bold]you>[/] ")})
            answer = ask(console, http, model, messages)
            if answer is None:
                messages.pop()
            else:
                messages.append({"role": "assistant", "content": answer})


def ask(console: Console, http: httpx.Client, model: str, messages: list[dict[str, str]]) -> str | None:
    """Print one streamed answer and what happened to the call. None when it failed."""
    body = {"model": model, "messages": messages, "stream": True}
    parts: list[str] = []
    try:
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                response.read()
                console.print(f"[red]{response.status_code}[/] {response.json()['error']['message']}", highlight=False)
                return None
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    _show(console, orjson.loads(line[6:]), parts)
            facts = [f"{name} {response.headers[f'x-penstock-{name}']}" for name in SHOWN
                     if f"x-penstock-{name}" in response.headers]  # fmt: skip
    except httpx.HTTPError as error:
        console.print(f"[red]cannot reach the graph[/]: {error}. Is `make serve` running?", highlight=False)
        return None
    console.print(f"\n[dim]{', '.join(facts)}[/]", highlight=False)
    return "".join(parts)


def _show(console: Console, chunk: dict[str, object], parts: list[str]) -> None:
    if "error" in chunk:
        console.print(f"\n[red]error[/] {chunk['error']}", highlight=False)
        return
    for choice in chunk["choices"]:  # type: ignore[attr-defined]
        text = choice["delta"].get("content") or ""
        parts.append(text)
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        if choice["finish_reason"] == "content_filter":
            console.print("\n[yellow]stopped by the moderator[/]")
