"""What of a request nobody reads: told in a header, or refused.  read -> [unread] -> routes.

The cache's identity has it all the same (app/api/whose.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from app.api.ignored import MAX_NAME, listed
from app.core import errors

HARMLESS = frozenset(
    {
        *("stream", "stream_options", "user", "safety_identifier", "metadata", "store", "service_tier"),
        *("prompt_cache_key", "prompt_cache_retention", "prediction", "request_id", "priority", "cache_salt"),
    }
)
"""Fields by which no answer is another: neither told nor refused."""
NOTHING: tuple[Any, ...] = (None, False, "", [], {})
"""Values that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Unread:
    """names: of fields that are not read. places: parts of messages that no model here can see."""

    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: dict[str, Any], model: type[BaseModel], places: Sequence[str] = ()) -> Unread:
        """What `model` does not read of `data`."""
        known = model.model_fields.keys() | HARMLESS
        rest = {name: value for name, value in data.items() if name not in known and value is not None}
        if rest.get("modalities") == ["text"]:
            del rest["modalities"]
        return cls(tuple(name for name, value in rest.items() if value not in NOTHING), tuple(places))

    def tell(self, request: Request, unknown_fields: str) -> None:
        """Have the answer's header name it. unknown_fields: as the policy's. Raises ApiError (400): `refuse`."""
        if self.names and unknown_fields == "refuse":
            name = self.names[0][:MAX_NAME]
            raise errors.bad_request(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        if told := listed((*self.names, *self.places)):
            request.state.ignored = told
