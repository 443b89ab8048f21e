"""Every number, text, list and object that a request may hold has an upper bound."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import httpx
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import app.api
from app.api.json_schema_bounds import bounded, bounded_format
from app.api.openai.wire import Wire
from tests.kit import KEY, Kit, serving

HI = [{"role": "user", "content": "hi"}]


def models() -> list[type[BaseModel]]:
    for module in pkgutil.walk_packages(app.api.__path__, "app.api."):
        importlib.import_module(module.name)
    found: dict[type[BaseModel], None] = {}
    left: list[type[BaseModel]] = [Wire]
    while left:
        here = left.pop()
        left += here.__subclasses__()
        found[here] = None
    return [model for model in found if model.__module__.startswith("app.api.")]


def flat(metadata: Any) -> Iterator[Any]:
    """The bounds among a field's metadata."""
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from flat(one.metadata)
        else:
            yield one


def unbounded(kind: Any, metadata: tuple[Any, ...] = ()) -> Iterator[str]:
    """What in this type has no upper bound."""
    bounds = list(flat(metadata))
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        yield from unbounded(inner, (*metadata, *more))
    elif origin in (Union, UnionType):
        for one in get_args(kind):
            yield from unbounded(one, metadata)
    elif kind in (int, float):
        yield from (
            [] if any(isinstance(one, annotated_types.Le | annotated_types.Lt) for one in bounds) else [str(kind)]
        )
    elif kind is str or origin in (list, dict, tuple, set):
        yield from [] if any(map(sized, bounds)) else [str(kind)]
        for one in () if Any in get_args(kind) else get_args(kind):  # free JSON: bounded as a whole
            yield from unbounded(one)
    elif origin is not Literal and kind not in (bool, type(None), Any):
        assert isinstance(kind, type), kind
        assert issubclass(kind, Wire), f"{kind} is no request model"


def sized(bound: Any) -> bool:
    """A length, or the check of a JSON Schema."""
    return isinstance(bound, annotated_types.MaxLen) or getattr(bound, "func", None) in (bounded, bounded_format)


def faults() -> list[str]:
    return [
        f"{model.__name__}.{name}: {what}"
        for model in models()
        for name, field in model.model_fields.items()
        for what in unbounded(field.annotation, tuple(field.metadata))
    ]


def test_every_field_of_every_request_model_is_bounded() -> None:
    assert len(models()) > 30
    assert [] == faults()


def test_a_field_without_a_bound_would_be_found() -> None:
    class Loose(Wire):
        count: int
        text: str | None = None
        many: list[Annotated[str, annotated_types.MaxLen(9)]] | None = None

    kinds = [list(unbounded(field.annotation, tuple(field.metadata))) for field in Loose.model_fields.values()]
    assert [1, 1, 1] == [len(kind) for kind in kinds]


HUGE = [2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**30]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        serving(Kit().gateway()) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", {"messages": HI}, "max_tokens"),
        ("/v1/chat/completions", {"messages": HI}, "max_completion_tokens"),
        ("/v1/chat/completions", {"messages": HI}, "n"),
        ("/v1/completions", {"prompt": "hi"}, "max_tokens"),
        ("/v1/completions", {"prompt": "hi"}, "logprobs"),
        ("/v1/responses", {"input": "hi"}, "max_output_tokens"),
        ("/v1/messages", {"messages": HI, "max_tokens": 9}, "max_tokens"),
        ("/v1/messages", {"messages": HI, "max_tokens": 9}, "top_k"),
    ],
)
def test_a_huge_number_is_a_400_that_names_it(
    http: httpx.Client, path: str, body: dict[str, Any], field: str, number: int
) -> None:
    answer = http.post(path, json={"model": "small", **body, field: number})
    assert 400 == answer.status_code, answer.text
    assert field in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user", "x" * 513),
        ("safety_identifier", "x" * 513),
        ("prompt_cache_key", "x" * 513),
        ("stop", "x" * 1001),
        ("stop", ["x" * 1001]),
        ("metadata", {"x" * 257: "a"}),
        ("seed", 2**63),
        ("logit_bias", {"9" * 17: 1}),
        ("messages", [{"role": "user", "content": "hi", "name": "x" * 257}]),
        ("messages", [{"role": "tool", "content": "hi", "tool_call_id": "x" * 257}]),
    ],
)
def test_what_is_too_long_is_a_400(http: httpx.Client, field: str, value: Any) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "small", "messages": HI, field: value})
    assert 400 == answer.status_code, answer.text
    assert answer.json()["error"]["param"].startswith(field)
