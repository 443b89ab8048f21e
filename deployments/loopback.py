"""On a machine alone, replicas listen for each other on loopback.  [deployments/__init__] -> Ray Serve.

Each Serve replica opens a gRPC server for the others, on every interface (`[::]`, fixed in Ray 2.60), and unpickles
what comes: whoever reaches the port runs code. A Ray whose node is at 127.0.0.1 has no other node that would call.
"""

from __future__ import annotations

import sys
from typing import Any

SERVE = "ray.serve._private.replica"
EVERYWHERE, HERE = "[::]", "127.0.0.1"


def install() -> bool:
    """In a replica's process, before its server starts. False where there is nothing to do, or not yet."""
    replica: Any = sys.modules.get(SERVE)
    bind = getattr(replica, "add_port_to_grpc_server", None)
    if bind is None or getattr(bind, "is_ours", False):
        return False

    def bound(server: Any, address: str) -> int:
        port: int = bind(server, address.replace(EVERYWHERE, HERE) if _alone() else address)
        return port

    bound.is_ours = True  # type: ignore[attr-defined]
    replica.add_port_to_grpc_server = bound
    return True


def _alone() -> bool:
    import ray

    return str(ray.util.get_node_ip_address()).startswith("127.")
