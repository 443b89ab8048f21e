"""What the stages need from outside, wired: runtime/wiring makes it, pipeline/build hands it to the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

from app.config.ports import PORTS
from app.core.call import Call
from app.core.ports import (
    Authenticator,
    Classifier,
    Complexity,
    Contents,
    Encoder,
    Engine,
    Index,
    Ledger,
    ParaphraseJudge,
    Scrubber,
    SettlementOutbox,
    Tokenizer,
    UsageRow,
)
from app.routing.poison import Poison

Observe = Callable[[UsageRow, Call], None]


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port, wired. count: text -> tokens. observe: called with each usage row and its call.

    tokenizer, paraphrase: None where the config names none. key: the installation's, for names that
    hide personal data. others: ports of the table (config/ports) that have no field here, by name.
    """

    encoder: Encoder
    scrubber: Scrubber
    guard: Classifier
    complexity: Complexity
    moderator: Classifier
    index: Index
    engines: Mapping[str, Engine]
    authenticator: Authenticator
    ledger: Ledger
    outbox: SettlementOutbox
    contents: Contents
    count: Callable[[str], int]
    observe: Observe
    tokenizer: Tokenizer | None = None
    paraphrase: ParaphraseJudge | None = None
    poison: Poison = field(default_factory=Poison)
    others: Mapping[str, Any] = field(default_factory=dict)
    key: bytes = field(default_factory=lambda: token_bytes(32))

    def __getitem__(self, port: str) -> Any:
        """The port of this name, `ledger` included; None where the graph has none."""
        attribute = (PORTS[port].attribute if port in PORTS else "") or port
        return self.others[attribute] if attribute in self.others else getattr(self, attribute, None)
