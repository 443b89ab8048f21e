"""A request's body or query as a model, or the first fault in words. body -> [validation] -> routes, admin routes.

A path is spelt as OpenAI spells it: `input[0].content[1].text`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from app.core import errors
from app.core.errors import ApiError
from app.core.loose_json import loads

T = TypeVar("T", bound=BaseModel)


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
    kind = "invalid_type" if fault["type"].endswith("_type") else "invalid_value"
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    where = f" for '{path}'" if path else ""
    return errors.bad_request(f"Invalid value{where}: {said}.", path or None, kind)


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
