"""A request's body or query as a model, or the first fault in words. body -> [validation] -> routes, admin routes.

A path is spelt as OpenAI spells it: `input[0].content[1].text`.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.core import errors
from app.core.errors import ApiError
from app.core.loose_json import loads

T = TypeVar("T", bound=BaseModel)
TAGS = frozenset({"union_tag_invalid", "union_tag_not_found"})
"""Faults of an object whose `type` says which it is."""
WORDS = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "should be an object"),
    "list_type": "should be a list",
    "string_type": "should be a string",
    "bool_type": "should be true or false",
    "float_type": "should be a number",
    **dict.fromkeys(("int_type", "int_from_float"), "should be a whole number"),
    **dict.fromkeys(("int_parsing", "int_parsing_size"), "should be a whole number of fewer digits"),
}
"""By pydantic's names of its faults: what its own sentences say in words of Python."""
_COUNTED = re.compile(r"(?: after validation)?, not (?:\d+|more)$")


def load(body: bytes) -> dict[str, Any]:
    """The body's JSON object. Raises ApiError (400)."""
    try:
        data = loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    if not isinstance(data, dict):
        raise errors.malformed("it must be a JSON object")
    return data


def fit(model: type[T], data: dict[str, Any]) -> T:
    """`data` as the model. Raises ApiError (400)."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, data) from None


def explain(error: ValidationError, data: dict[str, Any]) -> ApiError:
    """The first fault in words. data: what was to fit."""
    # Of a union's faults the one that is not about the type is what the caller got wrong.
    faults = error.errors(include_url=False, include_input=False)
    fault = min(faults, key=lambda one: (one["type"].endswith("_type"), -len(one["loc"])))
    path = _path(fault["loc"], data, missing=fault["type"] == "missing")
    if fault["type"] == "missing":
        return errors.bad_request(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    if fault["type"] == "extra_forbidden":
        return errors.bad_request(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
    if fault["type"] in TAGS:
        path = f"{path}.type" if path else "type"
    kind = "invalid_type" if fault["type"].endswith("_type") else "invalid_value"
    where = f" for '{path}'" if path else ""
    return errors.bad_request(f"Invalid value{where}: {_said(fault)}.", path or None, kind)


def _said(fault: ErrorDetails) -> str:
    """What should stand there, in the words of JSON."""
    if fault["type"] in TAGS:
        return f"should be one of {fault['ctx']['expected_tags']}" if "expected_tags" in fault["ctx"] else "is missing"
    if fault["type"] in WORDS:
        return WORDS[fault["type"]]
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return _COUNTED.sub("", said)


def _path(loc: tuple[int | str, ...], data: Any, *, missing: bool) -> str:
    """Only what really stands in the body: a location also names branches of unions."""
    path, here = "", data
    for at, part in enumerate(loc):
        last = missing and at + 1 == len(loc)
        if isinstance(part, int) and isinstance(here, list) and part < len(here):
            path, here = f"{path}[{part}]", here[part]
        elif isinstance(part, str) and isinstance(here, dict) and (part in here or last):
            path, here = f"{path}.{part}" if path else part, here.get(part)
    return path
