"""Which adapters implement which port, by the short names that config files use.

A config may also name one of your own as `package.module:Class`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

ADAPTERS: dict[str, dict[str, str]] = {
    "encoder": {
        "minilm": "app.models.encoder:MiniLMEncoder",
        "fake": "app.testing.fakes:FakeEncoder",
    },
    "scrubber": {
        "presidio": "app.privacy.presidio.scrubber:PresidioScrubber",
        "fake": "app.testing.fakes:FakeScrubber",
    },
    "guard": {
        "onnx": "app.safety.injection:OnnxInjection",
        "fake": "app.testing.fakes:FakeClassifier",
    },
    "complexity": {
        "linear": "app.routing.complexity:LinearComplexity",
        "fake": "app.testing.fakes:FakeComplexity",
    },
    "moderator": {
        "detoxify": "app.safety.detoxify:DetoxifyClassifier",
        "fake": "app.testing.fakes:FakeClassifier",
    },
    "cache": {
        "faiss": "app.cache.faiss.index:FaissIndex",
        "fake": "app.testing.fakes:FakeIndex",
    },
    "paraphrase": {
        "minilm": "app.cache.paraphrase.judge:MiniLMParaphraseJudge",
        "fake": "app.testing.fakes:FakeParaphraseJudge",
    },
}


def load(port: str, adapter: str) -> Any:
    """The adapter class of a port. Importing it loads no model: adapters import those in their constructor."""
    module, _, name = ADAPTERS[port].get(adapter, adapter).partition(":")
    return getattr(import_module(module), name)
