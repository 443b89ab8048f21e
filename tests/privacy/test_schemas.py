"""A schema that demands a shape has room for what stands for the caller's data."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from app.privacy.schemas import widened

MAIL, PERSON = "<EMAIL_ADDRESS_1>", "<PERSON_1>"


def form(**string: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"to": {"type": "string", **string}}, "required": ["to"]}


def asked(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def valid(answer: dict[str, Any], schema: dict[str, Any]) -> bool:
    return jsonschema_rs.is_valid(schema, answer, validate_formats=True)


def wider(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    made: dict[str, Any] = widened(asked(schema), names)["response_format"]["json_schema"]["schema"]
    return made


@pytest.mark.parametrize(
    "shape",
    [
        {"format": "email"},
        {"pattern": "^[a-z@.]+$"},
        {"maxLength": 8},
        {"minLength": 30},
        {"format": "email", "description": "whose", "maxLength": 9},
        {"anyOf": [{"pattern": "^a"}, {"pattern": "<"}], "format": "email"},
    ],
)
def test_a_placeholder_is_a_valid_answer(shape: dict[str, Any]) -> None:
    assert not valid({"to": MAIL}, form(**shape))
    assert valid({"to": MAIL}, wider(form(**shape), MAIL, PERSON))


def test_only_a_name_of_that_kind_takes_the_place_of_an_address() -> None:
    assert not valid({"to": PERSON}, wider(form(format="email"), MAIL, PERSON))
    assert wider(form(format="email"), PERSON) == form(format="email")


def test_without_placeholders_a_schema_stays_what_it_is() -> None:
    assert widened(asked(form(format="email")), ["Alwen Calloway"]) == asked(form(format="email"))
    assert widened(asked(form(enum=["a"], format="email")), [MAIL]) == asked(form(enum=["a"], format="email"))
    assert widened(asked(form(pattern=f"^{PERSON}$")), [PERSON]) == asked(form(pattern=f"^{PERSON}$"))
