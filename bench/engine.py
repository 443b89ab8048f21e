"""The full graph against the same engine behind `ray.serve.llm`'s own `build_openai_app`, in turns in one run.

    python bench/engine.py [ROUNDS]

Both run in one Ray, each with a vLLM engine of its own with the same settings; while one is asked the other idles.
Prints output tokens a second at concurrency 8 and the median time to first token, each as a median over rounds with
its spread, and the ratios.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import orjson
import ray
from ray import serve

from app.config import VllmPool, load_file
from app.installation.paths import development_key
from deployments.pools import llm_config
from graphs.chat import build

ROOT = Path(__file__).parents[1]
CONCURRENCY, TOKENS = 8, 48
PORT = 8077


def start() -> None:
    """Both applications, from the local config."""
    config = load_file(ROOT / "configs" / "local.yaml")
    args = config.graph.model_dump(mode="json")
    pool = config.graph.pools["smol-a"]
    assert isinstance(pool, VllmPool)  # noqa: S101 - it is, in the local config
    policy = config.policy.model_dump(mode="json")
    for tier in policy["tiers"].values():
        tier["pools"] = {"smol-a": 1}
    args |= {"pools": {"smol-a": args["pools"]["smol-a"]}, "policy": policy}
    ray.init("local", namespace="serve", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": PORT})
    serve.run(build(args), name="penstock", route_prefix="/")
    from ray.serve.llm import build_openai_app  # after `build`, which has told vLLM its platform

    plain = llm_config("plain", pool, pool.deployment, {}, {})
    ingress = {"ingress_deployment_config": {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0.1}}}
    serve.run(build_openai_app({"llm_configs": [plain], **ingress}), name="plain", route_prefix="/plain")


async def ask(http: httpx.AsyncClient, path: str, number: int) -> tuple[float, int]:
    """(seconds to first token, tokens) of one streamed answer of exactly TOKENS tokens."""
    body = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": f"Tell me something about the number {number}."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": TOKENS,
        "temperature": 0.8,
        "logit_bias": {"2": -100},  # the end of the answer: never
    }
    started, first, tokens = time.perf_counter(), 0.0, 0
    async with http.stream("POST", f"{path}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = orjson.loads(line[6:])
            if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                first = time.perf_counter() - started
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
    return first, tokens


async def measure(path: str, number: int) -> tuple[float, float]:
    """(output tokens a second, median seconds to first token) of CONCURRENCY answers at once."""
    headers = {"Authorization": f"Bearer {development_key()}", "Cache-Control": "no-cache"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", headers=headers, timeout=120) as http:
        started = time.perf_counter()
        answers = await asyncio.gather(*(ask(http, path, number + i) for i in range(CONCURRENCY)))
        seconds = time.perf_counter() - started
    return sum(tokens for _, tokens in answers) / seconds, statistics.median(first for first, _ in answers)


async def main(rounds: int) -> None:
    """A B A B; the first round warms up."""
    found: dict[str, list[tuple[float, float]]] = {"": [], "/plain": []}
    for turn in range(rounds + 1):
        for path, rows in found.items():
            row = await measure(path, turn * 1000 + (500 if path else 0))
            if turn:
                rows.append(row)
    for path, rows in found.items():
        speed, first = ([row[i] for row in rows] for i in (0, 1))
        print(
            f"{'build_openai_app' if path else 'full graph':18}"
            f"{statistics.median(speed):7.1f} tokens/s ({min(speed):.1f} to {max(speed):.1f})   "
            f"TTFT p50 {statistics.median(first) * 1000:6.0f} ms ({min(first) * 1000:.0f} to {max(first) * 1000:.0f})"
        )
    ratio = [
        statistics.median(row[i] for row in found[""]) / statistics.median(row[i] for row in found["/plain"])
        for i in (0, 1)
    ]
    print(f"ratios: {ratio[0]:.2f}x tokens/s, {ratio[1]:.2f}x TTFT")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as state:
        os.environ["PENSTOCK_STATE"] = state
        start()
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
        serve.shutdown()
        ray.shutdown()
