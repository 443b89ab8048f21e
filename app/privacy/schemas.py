"""Schemas that a placeholder may answer: where data is hidden, its shape cannot be demanded.  scrub -> [schemas].

`{"type": "string", "format": "email"}` lets no model answer `<EMAIL_ADDRESS_1>`: it would make an address up. Such a
string may also be one of the call's own names; what it stands for is the caller's. Where the call has data of the
format that is asked for, it must be one of those: small models make one up otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.placeholders import PLACEHOLDER

SHAPES = ("format", "pattern", "minLength", "maxLength")
"""What demands a shape of a string."""
FORMATS: Mapping[str, frozenset[str]] = {
    "email": frozenset({"EMAIL_ADDRESS"}),
    "idn-email": frozenset({"EMAIL_ADDRESS"}),
    "hostname": frozenset({"DOMAIN_NAME", "URL"}),
    "ipv4": frozenset({"IP_ADDRESS"}),
    "ipv6": frozenset({"IP_ADDRESS"}),
    "uri": frozenset({"URL", "DOMAIN_NAME"}),
    "date": frozenset({"DATE_TIME"}),
    "date-time": frozenset({"DATE_TIME"}),
}
"""Types of which an original may have that format; of another format, any."""
MOST = 200
"""Names that a string may be; of more, any placeholder."""
SCHEMAS = ("response_format", "tools", "structured_outputs", "guided_json")
"""Parameters that hold schemas."""
_ANY = r"^<[A-Z][A-Z_]*_[0-9]+>$"
_DATA = frozenset({"enum", "const", "default", "examples", "example", "required"})


def widened(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The same parameters with room for these names. names: the call's; those that are no placeholders have a shape."""
    placeholders = [name for name in names if PLACEHOLDER.fullmatch(name)]
    if not placeholders:
        return dict(params)
    return {name: _wider(value, placeholders) if name in SCHEMAS else value for name, value in params.items()}


def _wider(node: Any, names: Sequence[str]) -> Any:
    if isinstance(node, list):
        return [_wider(one, names) for one in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: value if key in _DATA else _wider(value, names) for key, value in node.items()}
    return _string(made, names) if _is_string(made) else made


def _is_string(node: Mapping[str, Any]) -> bool:
    kinds = node.get("type")
    string = kinds == "string" or (isinstance(kinds, list) and "string" in kinds)
    return string and any(isinstance(node.get(shape), str | int) for shape in SHAPES) and "enum" not in node


def _string(node: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """One string of a schema; its shape is one way to write it, a name another."""
    fitting = FORMATS.get(str(node.get("format")))
    named = [name for name in names if fitting is None or name[1:-1].rpartition("_")[0] in fitting]
    pattern = node.get("pattern")
    if not named or (isinstance(pattern, str) and PLACEHOLDER.search(pattern)):
        return node  # a pattern that holds a name already asks for it
    shaped = {key: node[key] for key in ("type", *SHAPES) if key in node}
    rest = {key: value for key, value in node.items() if key not in shaped}
    name = {"type": "string", "enum": named} if len(named) <= MOST else {"type": "string", "pattern": _ANY}
    if "format" not in shaped and "pattern" not in shaped:
        # Prose that may hold a name among other words: its length is not the original's.
        return {**rest, "type": shaped["type"]}
    if "anyOf" in rest:
        rest["allOf"] = [*rest.get("allOf", ()), {"anyOf": rest.pop("anyOf")}]
    if fitting is not None and "pattern" not in shaped:
        # Data of that very kind is in the call: another of its kind would be made up.
        return {**rest, **name}
    return {**rest, "anyOf": [shaped, name]}
