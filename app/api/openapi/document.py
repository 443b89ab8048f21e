"""`/openapi.json`: the routes that this app has, each with its request, answer, stream, headers and errors.

Request schemas come from the wire models that read the bodies, answers from `shapes`; `operations` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api.openapi.operations import OPERATIONS, Operation

REF = "#/components/schemas/{model}"
Schema = dict[str, Any]

WHY = {
    400: "The request is wrong, or a stage refused it; `param` names the part.",
    401: "No API key, or a wrong one.",
    403: "The key may not do this.",
    404: "There is no such thing: `model_not_found` for a model.",
    409: "A request with this Idempotency-Key is still being answered.",
    413: "The body is too large.",
    429: "A rate limit (`rate_limit_exceeded`) or a budget (`insufficient_quota`) is reached.",
    500: "The server broke.",
    503: "Overloaded, or a stage, pool or the ledger does not answer.",
    504: "The call passed its deadline.",
    529: "Overloaded, or a stage, pool or the ledger does not answer.",
}


def _header(text: str, **schema: Any) -> Schema:
    return {"description": text, "schema": {"type": "string", **schema}}


PARAMETERS: dict[str, Schema] = {
    "X-Client-Request-Id": _header("Comes back as it was sent."),
    "Idempotency-Key": _header(
        "Sent again within a day, the same request gets the same answer and is billed once. An extension.",
        minLength=1,
        maxLength=255,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",
    ),
    "traceparent": _header("W3C trace context: the call's spans join this trace."),
    "Cache-Control": _header("`no-cache` skips the semantic cache's lookup, `no-store` the storing."),
}
HEADERS: dict[str, Schema] = {
    "x-request-id": _header("To quote when you report a problem."),
    "openai-version": _header("The version of OpenAI's API that is spoken."),
    "openai-processing-ms": _header("Milliseconds until the answer began."),
}
MORE_HEADERS: dict[str, Schema] = {"request-id": _header("As x-request-id, where Anthropic's clients look for it.")}
CALL_HEADERS: dict[str, Schema] = {
    "x-penstock-call": _header("The id of the usage row; several, where several prompts were sent."),
    "x-penstock-tier": _header("The tier that the call is billed as."),
    "x-penstock-pool": _header("The pool that answered."),
    "x-penstock-region": _header("Where the pool stands."),
    "x-penstock-cache": _header("`hit`, `miss` or `bypass`, of the semantic cache."),
    "x-penstock-recall": _header("The old name of `x-penstock-cache-decision`; sent for one version."),
    "x-penstock-cache-decision": _header("What the cache found, and why: `result=bypass; why=time`."),
    "x-penstock-complexity": _header("The score that picked the tier."),
    "x-penstock-route": _header(
        "Why this tier, of an `auto` call: its score, the threshold that it reached, and what decided: `score`, "
        "`conversation` or a trait (`tools`, `json_schema`, `long_context`)."
    ),
    "x-penstock-scrubbed": _header("Personal data that was taken out, by type: `EMAIL_ADDRESS=1`, or `none`."),
    "x-penstock-max-tokens": _header("What `max_tokens` was lowered to, where it was above what key and pool allow."),
    "x-penstock-ignored": _header("What of the request no pool could use and was left out, by type or field."),
    "x-penstock-cost": _header("What the call cost; not on a stream, whose cost is known only at its end."),
    **{
        f"x-ratelimit-{what}-{kind}": _header(f"Of the tightest limit on {kind}: {text}.")
        for kind in ("requests", "tokens")
        for what, text in {
            "limit": "what it allows",
            "remaining": "what is left",
            "reset": "how long until it is whole again, as `12ms` or `6m0s`",
        }.items()
    },
}


def install(app: FastAPI) -> None:
    """Serve this document as the app's. It is built when it is first asked for."""
    made: list[Schema] = []

    def openapi() -> Schema:
        if not made:
            made.append(document(app))
        return made[0]

    app.openapi = openapi  # type: ignore[method-assign]


def document(app: FastAPI) -> Schema:
    """The OpenAPI 3.1 document of the routes that this app has and OPERATIONS knows."""
    found = [(path, method) for path, method in served(app) if (method, path) in OPERATIONS]
    refs, schemas = _schemas(OPERATIONS[method, path] for path, method in found)
    paths: dict[str, Schema] = {}
    for path, method in found:
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, refs)
    keys = {"key": {"type": "http", "scheme": "bearer"}}
    keys |= {name: {"type": "apiKey", "in": "header", "name": name} for name in ("x-api-key", "api-key")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Penstock", "version": version("penstock"), "description": "A GenAI API you run yourself."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": keys},
        "security": [{name: []} for name in keys],
    }


def served(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Path and method of each route, as the document spells them."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods or ()):
                yield route.path_format, method


def _schemas(operations: Iterable[Operation]) -> tuple[dict[type[BaseModel], Schema], Schema]:
    """A reference to each model, and the schemas that they lead to."""
    models: dict[type[BaseModel], None] = dict.fromkeys(model for one in operations for model in one.models)
    refs, defs = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    return {model: refs[model, "validation"] for model in models}, defs["$defs"]


def _operation(method: str, path: str, refs: dict[type[BaseModel], Schema]) -> Schema:
    one = OPERATIONS[method, path]
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    parameters += _query(one.query) if one.query else []
    said: Schema = {
        "summary": one.summary,
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('{', '').replace('}', '')}",
        "parameters": [*parameters, *({"name": name, "in": "header", **PARAMETERS[name]} for name in one.takes)],
        "responses": _responses(one, refs),
    }
    if one.request is not None:
        content = {"schema": refs[one.request], **({"example": one.example} if one.example else {})}
        said["requestBody"] = {"required": True, "content": {one.body: content}}
    if one.open:
        said["security"] = []
    return said


def _query(model: type[BaseModel]) -> list[Schema]:
    whole = model.model_json_schema()
    required = whole.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in whole["properties"].items()
    ]


def _event(schema: Schema) -> Schema:
    """One server-sent event: JSON of this schema, or the stream's end."""
    json = {"contentMediaType": "application/json", "contentSchema": schema}
    return {
        "type": "object",
        "description": "Each event of a stream (`stream: true`). An error is the last one; else `[DONE]` is.",
        "properties": {"data": {"type": "string", "anyOf": [{"const": "[DONE]"}, json]}},
        "required": ["data"],
    }


def _responses(one: Operation, refs: dict[type[BaseModel], Schema]) -> Schema:
    always = HEADERS | {name: MORE_HEADERS[name] for name in one.sends}
    headers = always | (CALL_HEADERS if one.call else {})
    content: Schema = {"application/json": {"schema": refs[one.answer]}} if one.answer else {}
    if one.answer is None:
        content = {one.text: {"schema": {"type": "string"}}}
    if one.event is not None:
        content["text/event-stream"] = {"schema": _event({"anyOf": [refs[one.event], refs[one.fault]]})}
    responses: Schema = {"200": {"description": "The answer.", "headers": headers, "content": content}}
    for status in one.errors:
        error = {"application/json": {"schema": refs[one.fault]}}
        again = {"retry-after": _header("Whole seconds.")} if status in (409, 429, 503, 529) else {}
        responses[str(status)] = {"description": WHY[status], "headers": always | again, "content": error}
    for status, model in one.also.items():
        shape = {"application/json": {"schema": refs[model]}}
        responses[str(status)] = {"description": "Not now.", "headers": always, "content": shape}
    return responses
