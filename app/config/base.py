"""What every part of the configuration shares: strict models, and errors that name the key and the choices."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class ConfigError(ValueError):
    """A configuration that cannot run: one line a fault, each naming the key and the choices."""


class Strict(BaseModel):
    """Unknown keys are errors; nothing changes after load."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def choose(what: str, got: str, choices: Iterable[str]) -> ConfigError:
    """The error for a name that is not one of `choices`."""
    return ConfigError(f"{what}: `{got}` is not known: choose from {', '.join(sorted(choices)) or '(none)'}")
