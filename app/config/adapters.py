"""Which adapters implement which port, by the short names that config files use.

A config may also name one of your own as `package.module:Class`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from app.config.ports import PORTS

ADAPTERS: Mapping[str, Mapping[str, str]] = {name: spec.adapters for name, spec in PORTS.items()}


def load(port: str, adapter: str) -> Any:
    """The adapter class of a port. Importing it loads no model: adapters import those in their constructor."""
    module, _, name = ADAPTERS[port].get(adapter, adapter).partition(":")
    return getattr(import_module(module), name)
