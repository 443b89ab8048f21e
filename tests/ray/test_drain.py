"""A redeploy cuts no answer off: streams end on the gateway that began them, new calls go to the new one.

The gateway, Ray Serve and its proxy are real; the model is a fake, so that an answer lasts as long as the test needs.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest

from tests.graph import Graph, running
from tests.kit import free_port
from tests.ray.test_fleet import PRICE

WORDS, RATE = 60, 3
"""An answer of 20 seconds: longer than a gateway takes to start."""


def config(port: int, word: str) -> dict[str, Any]:
    fake = {"adapter": "fake", "placement": "inline"}
    ports = dict.fromkeys(("encoder", "scrubber", "guard", "complexity", "moderator", "cache"), fake)
    said = {"answer": f"{word} " * WORDS, "tokens_per_second": RATE}
    args = {
        **ports,
        "pools": {"only": {"kind": "fake", "model_id": f"says-{word}", "options": said}},
        "state": {"development_key": True},
        "gateway": {"num_replicas": 1, "num_cpus": 0.1, "graceful_shutdown_timeout_s": 60},
    }
    policy = {
        "stages": ["admit", "route", "generate", "moderate", "settle"],
        "tiers": {"small": {"min_complexity": 0, "pools": {"only": 1}, "price": PRICE}},
        "moderate": {"thresholds": {"toxicity": 0.5}},
    }
    application = {
        "name": "penstock", "route_prefix": "/", "import_path": "graphs.chat:build", "args": args,
        "deployments": [{"name": "Gateway", "user_config": policy}],
    }  # fmt: skip
    http = {"host": "127.0.0.1", "port": port}
    return {"proxy_location": "HeadOnly", "http_options": http, "applications": [application]}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """Started once, and with SIGINT ignored, as a script's `&` starts it."""
    port = free_port()
    with running(tmp_path_factory.mktemp("drain"), config(port, "old"), port, deaf=True) as started:
        yield started


class Reader(threading.Thread):
    """Reads one streamed answer. `begun` is set with its first word."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self.begun = threading.Event()
        self.finish: str | None = None
        self._client = graph.client()
        self.start()

    def run(self) -> None:
        messages: Any = [{"role": "user", "content": "Say it."}]
        for chunk in self._client.chat.completions.create(model="small", messages=messages, stream=True):
            self.text += chunk.choices[0].delta.content or ""
            if self.text:
                self.begun.set()
            self.finish = chunk.choices[0].finish_reason or self.finish


def first_word(graph: Graph) -> str:
    """What a gateway that takes new calls says."""
    messages: Any = [{"role": "user", "content": "Say it."}]
    answer = graph.client().chat.completions.create(model="small", messages=messages, max_tokens=1)
    return str(answer.choices[0].message.content).strip()


def test_a_stream_ends_on_the_old_gateway_while_new_calls_go_to_the_new_one(small: Graph) -> None:
    now, new = first_word(small), "changed"
    stream = Reader(small)
    assert stream.begun.wait(30)
    (before,) = small.replicas()["Gateway"]
    small.deploy(config(small.port, new))
    deadline = time.monotonic() + 60
    answers = [first_word(small)]
    while answers[-1] != new:  # not once without an answer: the old one serves until the new one does
        assert time.monotonic() < deadline
        time.sleep(0.2)
        answers.append(first_word(small))
    assert stream.is_alive(), "the stream ended before the new gateway served: the test proves nothing"
    assert before not in small.replicas()["Gateway"]
    stream.join(60)
    assert stream.text.split() == [now] * WORDS
    assert stream.finish == "stop"


def test_an_openai_client_sees_no_error_over_several_redeploys(small: Graph) -> None:
    failures: list[openai.OpenAIError] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                first_word(small)
            except openai.OpenAIError as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    for word in ("new", "newer"):
        small.deploy(config(small.port, word))
        deadline = time.monotonic() + 60
        while first_word(small) != word:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    over.set()
    for asker in askers:
        asker.join(30)
    assert failures == []


def test_a_graph_that_was_started_with_sigint_ignored_ends_on_sigint_and_leaves_no_process(small: Graph) -> None:
    family = small.family()
    assert len(family) > 3
    small.process.send_signal(signal.SIGINT)
    assert 0 == small.process.wait(60)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert [] == [process.name() for process in alive]
