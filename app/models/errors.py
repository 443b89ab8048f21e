"""What goes wrong with a model, and keeping model libraries off the network. Imports nothing heavy."""

from __future__ import annotations

import os


class ModelError(Exception):
    """A model cannot be used. The message names the fix."""


def offline() -> None:
    """Keep model libraries from reaching for a hub. Call it before they are first imported: they read it then."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
