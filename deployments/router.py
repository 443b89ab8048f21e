"""The prefix-aware request router of ray.serve.llm, safe from an empty prompt.  ServeEngine -> [PrefixRouter] -> pool.

Runs where the handle is, in the gateway: so not from `ray.serve.llm.request_router`, which imports vLLM.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import PrefixCacheAffinityRouter

if TYPE_CHECKING:
    from ray.serve._private.request_router.common import PendingRequest


class PrefixRouter(PrefixCacheAffinityRouter):
    """Sends a prompt to the replica that saw its beginning before, unless that one is much busier than the others."""

    def _extract_text_from_request(self, pending_request: PendingRequest) -> str:
        # It divides by the text's length: where that is 0, the request hangs, and a routing task with it (Ray 2.60).
        return super()._extract_text_from_request(pending_request) or "\n"
