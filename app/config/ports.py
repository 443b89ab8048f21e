"""The one table of ports: for each, what it must do, who does it, and which stages ask it.

Everything else about a port follows from its line here: its key in the config (config/graph), its adapter
(config/adapters), what readiness asks (pipeline/gateway), the drawings (cli/diagram, api/ops/insight), its place in
Ports (runtime/wiring), and its Serve deployment with its client (deployments/servers, deployments/clients), whose
methods are those of the Protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core import ports as protocols


@dataclass(frozen=True, slots=True)
class PortSpec:
    """protocol: of app/core/ports.py; every public method is async. adapters: short name -> `module:Class`.

    asked_by: the stages that ask it. deployment: what Serve calls its replicas.
    optional: what a graph without it does; empty: every graph names one.
    single: one replica only, because each would hold a state of its own.
    attribute: of pipeline.ports.Ports, where that is not the port's name.
    """

    protocol: type
    adapters: Mapping[str, str]
    asked_by: tuple[str, ...]
    deployment: str
    optional: str = ""
    single: bool = False
    attribute: str = ""


PORTS: Mapping[str, PortSpec] = {
    "encoder": PortSpec(
        protocols.Encoder,
        {"minilm": "app.models.encoder:MiniLMEncoder", "fake": "app.testing.fakes:FakeEncoder"},
        asked_by=("recall", "route", "remember"),
        deployment="Encoder",
    ),
    "scrubber": PortSpec(
        protocols.Scrubber,
        {"presidio": "app.privacy.presidio.scrubber:PresidioScrubber", "fake": "app.testing.fakes:FakeScrubber"},
        asked_by=("scrub",),
        deployment="Scrubber",
    ),
    "guard": PortSpec(
        protocols.Classifier,
        {"onnx": "app.safety.injection:OnnxInjection", "fake": "app.testing.fakes:FakeClassifier"},
        asked_by=("guard", "gate"),
        deployment="Guard",
    ),
    "complexity": PortSpec(
        protocols.Complexity,
        {"linear": "app.routing.complexity:LinearComplexity", "fake": "app.testing.fakes:FakeComplexity"},
        asked_by=("route",),
        deployment="Complexity",
    ),
    "moderator": PortSpec(
        protocols.Classifier,
        {"detoxify": "app.safety.detoxify:DetoxifyClassifier", "fake": "app.testing.fakes:FakeClassifier"},
        asked_by=("screen", "moderate"),
        deployment="Moderator",
    ),
    "cache": PortSpec(
        protocols.Index,
        {"faiss": "app.cache.faiss.index:FaissIndex", "fake": "app.testing.fakes:FakeIndex"},
        asked_by=("recall", "remember"),
        deployment="Cache",
        single=True,
        attribute="index",
    ),
    "paraphrase": PortSpec(
        protocols.ParaphraseJudge,
        {
            "minilm": "app.cache.paraphrase.judge:MiniLMParaphraseJudge",
            "fake": "app.testing.fakes:FakeParaphraseJudge",
        },
        asked_by=("recall",),
        deployment="ParaphraseJudge",
        optional="what compares a question with the cache's hits; None: the cosine alone decides",
    ),
}
LEDGER = "ledger"
ASKS_LEDGER = ("admit", "route", "settle")
"""Stages that ask the ledger, which stands in every process and has no adapter to choose."""


def ports_of(stage: str) -> tuple[str, ...]:
    """The ports that a stage asks, the ledger first, then in the table's order."""
    ledger = (LEDGER,) if stage in ASKS_LEDGER else ()
    return (*ledger, *(name for name, spec in PORTS.items() if stage in spec.asked_by))
