"""The child of `penstock serve`: a Ray of its own, then Ray Serve's `serve run FILE` in it.

python -m graphs.run FILE DASHBOARD_PORT
"""

from __future__ import annotations

import sys

import ray
from ray.serve.scripts import cli

OBJECT_STORE = 256 * 2**20
"""Bytes. Calls pass through memory of the processes; by default Ray would set 30 % of the machine's aside."""

LOOPBACK = "127.0.0.1"


def main(file: str, dashboard_port: int) -> None:
    """Serve FILE until interrupted."""
    # "local": never join a cluster that happens to run on this machine. Its processes listen on loopback alone.
    ray.init(
        "local",
        namespace="serve",
        dashboard_port=dashboard_port,
        object_store_memory=OBJECT_STORE,
        _node_ip_address=LOOPBACK,
    )
    cli(["run", file])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
