"""What a port's Protocol says of its methods: enough to serve them from a replica, and to call them there.

servers and clients read it, so that neither spells out a port.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

from app.config.ports import PORTS


@dataclass(frozen=True, slots=True)
class Method:
    """signature: without `self`. joined: its one argument is a sequence of texts, so that many calls make one pass.

    listed: it returns a list, one result for each item of its last argument: of none, none, and nobody is asked.
    """

    name: str
    signature: inspect.Signature
    joined: bool
    listed: bool

    def values(self, args: Sequence[Any], named: dict[str, Any]) -> tuple[Any, ...]:
        """Every argument in order, defaults included. Raises TypeError where they do not fit."""
        bound = self.signature.bind(*args, **named)
        bound.apply_defaults()
        return bound.args


def methods(port: str) -> Iterator[Method]:
    """The methods of a port's Protocol, as they stand there."""
    protocol = PORTS[port].protocol
    for name, function in vars(protocol).items():
        if not name.startswith("_") and inspect.iscoroutinefunction(function):
            yield _method(name, function)


def _method(name: str, function: Any) -> Method:
    signature = inspect.signature(function)
    given = list(signature.parameters.values())[1:]
    hints = get_type_hints(function)
    return Method(
        name,
        signature.replace(parameters=given),
        joined=len(given) == 1 and hints[given[0].name] == Sequence[str],
        listed=get_origin(hints["return"]) is list,
    )
