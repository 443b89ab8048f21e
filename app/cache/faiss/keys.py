"""What an entry of the semantic cache goes by: whose it is, and when two questions are one.

FaissIndex, FakeIndex -> [here]. A partition is `tenant/model/version/hash`, the first three percent-quoted.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote


def one_blank(question: str) -> str:
    """The question with its blanks made one: runs of them inside a line, those around lines, empty lines around it.

    A line's indentation stays: in code and in lists it means something.
    """
    lines = [line.rstrip() for line in question.splitlines()]
    return "\n".join(_indent(line) + " ".join(line.split()) for line in lines).strip()


def tenant_of(partition: str) -> str:
    """Whose partition it is."""
    return unquote(partition.partition("/")[0])


def belonging(tenant: str | None, model: str | None, version: str | None) -> Callable[[str], bool]:
    """Tells of a partition whether it is of these; None is any."""
    wanted = [None if name is None else quote(name, safe="") for name in (tenant, model, version)]

    def told(partition: str) -> bool:
        # A name that is not there is the empty one: no short partition belongs to a model that was asked for.
        names = [*partition.split("/")[:3], "", ""]
        return all(want is None or _same(want, name) for want, name in zip(wanted, names, strict=False))

    return told


def _same(quoted: str, name: str) -> bool:
    """Whether two quoted names are one: which characters are quoted is the quoter's choice."""
    return quoted == name or (("%" in quoted or "%" in name) and unquote(quoted) == unquote(name))


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
