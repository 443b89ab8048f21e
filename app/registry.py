"""Which adapters implement which port, by the short names that config files use.

A config may also name one of your own as `package.module:Class`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

ADAPTERS: dict[str, dict[str, str]] = {
    "encoder": {
        "minilm": "app.adapters.encoder:MiniLMEncoder",
        "fake": "app.adapters.fakes:FakeEncoder",
    },
    "scrubber": {
        "presidio": "app.adapters.presidio:PresidioScrubber",
        "fake": "app.adapters.fakes:FakeScrubber",
    },
    "guard": {
        "onnx": "app.adapters.injection:OnnxInjection",
        "fake": "app.adapters.fakes:FakeClassifier",
    },
    "complexity": {
        "linear": "app.adapters.complexity:LinearComplexity",
        "fake": "app.adapters.fakes:FakeComplexity",
    },
    "moderator": {
        "detoxify": "app.adapters.detoxify:DetoxifyClassifier",
        "fake": "app.adapters.fakes:FakeClassifier",
    },
    "cache": {
        "faiss": "app.adapters.faiss:FaissIndex",
        "fake": "app.adapters.fakes:FakeIndex",
    },
    "same": {
        "minilm": "app.adapters.same:MiniLMSame",
        "fake": "app.adapters.fakes:FakeSame",
    },
}


def load(port: str, adapter: str) -> Any:
    """The adapter class of a port. Importing it loads no model: adapters import those in their constructor."""
    module, _, name = ADAPTERS[port].get(adapter, adapter).partition(":")
    return getattr(import_module(module), name)
