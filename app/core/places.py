"""Every string of a request that an engine reads, and the same request with other strings.  [places] -> scrub, guard.

One walk does both: `strings` reads what it visits, `replaced` writes there. Nothing is joined by position: a string is
known by its kind and its text, so the same string has one replacement wherever it stands (a property, `required`, a
`$ref` to it). What is not visited stands in STRUCTURE; a field that nobody has heard of is visited.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote

from app.core import errors
from app.core.events import Message, Prompt

Kind = Literal["text", "json", "pattern", "name", "speaker"]
"""How a string is spelt: words; JSON, with escapes; a regular expression; an identifier of letters, digits, `_`, `-`;
such an identifier of somebody who speaks, where `_` stands for a blank.
"""
IDENTIFIERS = frozenset({"name", "speaker"})
"""Kinds that APIs take letters, digits, `_` and `-` for, and nothing else."""
DEEPEST = 200
"""Levels of a parameter; no schema that somebody wrote comes near."""
UNREAD = frozenset({"logit_bias"})
"""Parameters without a string that says anything: token ids and numbers."""
NAMED = frozenset({"function", "json_schema"})
"""Objects whose `name` is an identifier."""
IDENTIFYING: Mapping[str, Kind] = {"name": "speaker", "tool_call_id": "name"}
"""Fields of a message that are identifiers."""
PATTERNS = frozenset({"pattern", "regex"})
REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_SCHEMA = """
$schema $id $ref $defs $anchor $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor $vocabulary $comment type enum
const default examples example title description properties required additionalProperties patternProperties
unevaluatedProperties propertyNames minProperties maxProperties dependentRequired dependentSchemas dependencies
definitions items prefixItems additionalItems unevaluatedItems contains minContains maxContains minItems maxItems
uniqueItems allOf anyOf oneOf not if then else pattern format minLength maxLength minimum maximum exclusiveMinimum
exclusiveMaximum multipleOf contentEncoding contentMediaType contentSchema readOnly writeOnly deprecated nullable object
array string number integer boolean null date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6
uri uri-reference iri iri-reference uuid uri-template json-pointer relative-json-pointer base64 regex
https://json-schema.org/draft/2020-12/schema https://json-schema.org/draft/2019-09/schema
http://json-schema.org/draft-07/schema# http://json-schema.org/draft-07/schema
http://json-schema.org/draft-06/schema# http://json-schema.org/draft-04/schema#
"""
"""Keywords, types, formats and dialects."""
_REQUEST = """
function functions name parameters strict arguments json_schema schema json_object text auto none required any tool
custom structural_tag structures begin end triggers tags grammar choice json id value key values minimal low medium high
xhigh
"""
"""Names of a request's fields, and the words that their values are chosen from."""
STRUCTURE = frozenset((_SCHEMA + _REQUEST).split())
"""Words of a request's form: as a key or as a whole value they say nothing of anybody."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a string may stand: everywhere that this kind has this text."""

    kind: Kind
    text: str


Visit = Callable[[Kind, str], str]


def said(prompt: Prompt) -> list[Place]:
    """Every string of the messages, in order. Roles and types are structure."""
    return _visited(lambda visit: [_message(message, visit) for message in prompt.messages])


def strings(params: Mapping[str, Any]) -> list[Place]:
    """Every string of the parameters, in order. Raises ApiError (400): nested too deep to be read."""
    return _visited(lambda visit: _params(params, visit))


def replaced(prompt: Prompt, new: Mapping[Place, str]) -> Prompt:
    """The same prompt with other strings; those that are not in `new` stay as they are."""

    def visit(kind: Kind, text: str) -> str:
        return new.get(Place(kind, text), text)

    messages = tuple(_message(message, visit) for message in prompt.messages)
    return replace(prompt, messages=messages, params=_params(prompt.params, visit))


def wordings(params: Mapping[str, Any]) -> list[str]:
    """Each tool's words as one text, for a judge of what they say: all but the names of its properties."""
    found = []
    for tool in params.get("tools") or ():
        names = _keys(tool)
        texts = dict.fromkeys(one.text for one in strings({"tools": [tool]}) if one.kind != "name")
        told = [text for text in texts if text not in names or " " in text]
        found += ["\n".join(told)] if told else []
    return found


def _visited(walk: Callable[[Visit], object]) -> list[Place]:
    found: list[Place] = []

    def visit(kind: Kind, text: str) -> str:
        found.append(Place(kind, text))
        return text

    walk(visit)
    return found


def _message(message: Message, visit: Visit) -> Message:
    extra = {name: _extra(name, value, visit) for name, value in message.extra.items()}
    text = visit("json" if _is_json(message.text) else "text", message.text) if message.text else ""
    return replace(message, text=text, extra=extra, breaks=message.breaks if text == message.text else ())


def _extra(name: str, value: Any, visit: Visit) -> Any:
    """A field beside a message's text."""
    if name == "tool_calls":
        return [_called(call, visit) for call in value or ()]
    if name in IDENTIFYING and isinstance(value, str):
        return visit(IDENTIFYING[name], value)
    return _walk(value, visit)


def _called(call: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """A tool call of an earlier answer."""
    function = dict(call["function"])
    function["name"] = visit("name", function["name"])
    function["arguments"] = visit("json", function["arguments"]) if function["arguments"] else ""
    made = {**call, "function": function}
    if call.get("id"):
        made["id"] = visit("name", call["id"])
    return made


def _params(params: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    return {
        name: value if name in UNREAD else _value(name, value, visit, 0)  # their own names are this gateway's
        for name, value in params.items()
    }


def _walk(node: Any, visit: Visit, depth: int = 0, *, named: bool = False) -> Any:
    """What stands anywhere in a parameter. named: the object's `name` is an identifier. Raises ApiError (400)."""
    if depth > DEEPEST:
        raise errors.too_deep(DEEPEST)
    if isinstance(node, str):
        return node if not node or node in STRUCTURE else visit("text", node)
    if isinstance(node, list | tuple):
        return [_walk(one, visit, depth + 1) for one in node]
    if not isinstance(node, Mapping):
        return node
    made: dict[str, Any] = {}
    for key, value in node.items():
        new = key if not key or key in STRUCTURE else visit("text", key)
        identifier = named and key == "name" and isinstance(value, str) and value
        made[_free(new, node, made) if new != key else key] = (
            visit("name", value) if identifier else _value(key, value, visit, depth)
        )
    return made


def _value(key: str, value: Any, visit: Visit, depth: int) -> Any:
    """What stands under a key."""
    if isinstance(value, str) and value:
        if key in PATTERNS:
            return visit("pattern", value)
        if key in REFERENCES and value.startswith("#"):
            return "/".join(_segment(part, visit) for part in value.split("/"))
    return _walk(value, visit, depth + 1, named=key in NAMED)


def _segment(part: str, visit: Visit) -> str:
    """One step of a JSON pointer: it names a key, which may have another name now."""
    name = unquote(part).replace("~1", "/").replace("~0", "~")
    if not name or name == "#" or name in STRUCTURE:
        return part
    new = visit("text", name)
    return part if new == name else new.replace("~", "~0").replace("/", "~1")


def _free(name: str, *taken: Container[str]) -> str:
    """Two keys of one object never become one."""
    at, free = 2, name
    while any(free in names for names in taken):
        free, at = f"{name}_{at}", at + 1
    return free


def _keys(node: Any) -> frozenset[str]:
    """Every key below."""

    def below(one: Any) -> Iterator[str]:
        left = [one]
        while left:
            here = left.pop()
            if isinstance(here, Mapping):
                yield from here
                left += here.values()
            elif isinstance(here, list | tuple):
                left += here

    return frozenset(below(node))


def _is_json(text: str) -> bool:
    """Whether escapes in this text spell other characters."""
    return "\\" in text and text.lstrip()[:1] in ("{", "[")
