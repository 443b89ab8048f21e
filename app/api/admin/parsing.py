"""Read a body or a query as one of requests' models. routes -> [parsing] -> validation. Types in a body are exact."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.api.body import read_body
from app.api.validation import explain, fit, load

M = TypeVar("M", bound=BaseModel)
LIMIT = 1_000_000
"""Bytes of a body."""


async def body(request: Request, model: type[M]) -> M:
    """The request's JSON body. None at all is `{}`."""
    sent = await read_body(request, LIMIT) or b"{}"
    data = load(sent)
    try:
        # From JSON, where a decimal may be a string and a set is a list, though types are exact.
        return model.model_validate_json(sent, strict=True)
    except ValidationError as error:
        raise explain(error, data) from None


def query(request: Request, model: type[M]) -> M:
    """The request's query."""
    return fit(model, dict(request.query_params))
