"""What a stage is made of: every stage class takes what it wants from here, in its `of`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from app.config import Policy
from app.core.stage import Stage
from app.pipeline.ports import Ports
from app.routing.catalog import Health, ModelCatalog


@dataclass(frozen=True, slots=True)
class Assembly:
    """One policy's pipe in the making. stages: those made so far, by name, in the order in which they run."""

    ports: Ports
    policy: Policy
    catalog: ModelCatalog
    health: Health
    stages: dict[str, Stage] = field(default_factory=dict)


class StageClass(Protocol):
    """A class of stages."""

    name: str

    def of(self, parts: Assembly) -> Stage:
        """The stage, from what the policy and the ports give it. Cheap: a changed policy makes new ones."""
        ...
