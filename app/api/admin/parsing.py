"""Read a body or a query as one of wire's models. routes -> [read] -> wire. Types in a body are exact."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.api.body import read_body
from app.core import errors

M = TypeVar("M", bound=BaseModel)
LIMIT = 1_000_000
"""Bytes of a body."""


async def body(request: Request, model: type[M]) -> M:
    """The request's JSON body. None at all is `{}`."""
    sent = await read_body(request, LIMIT)
    try:
        return model.model_validate_json(sent or b"{}", strict=True)
    except ValidationError as error:
        raise explain(error) from None


def query(request: Request, model: type[M]) -> M:
    """The request's query."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise explain(error) from None


def explain(error: ValidationError) -> errors.ApiError:
    """The first fault in words, with the path of its field: `terms.per_model.large.tokens_per_minute`."""
    fault = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "json_invalid":
        return errors.malformed(fault["msg"].removeprefix("Invalid JSON: "))
    if fault["type"] == "model_type" and not path:
        return errors.malformed("it must be a JSON object")
    if fault["type"] == "missing":
        return errors.bad_request(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    if fault["type"] == "extra_forbidden":
        return errors.bad_request(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
    kind = "invalid_type" if fault["type"].endswith("_type") else "invalid_value"
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return errors.bad_request(f"Invalid value for '{path}': {said}.", path, kind)
