"""A DeploymentHandle turned back into its port. Whatever goes wrong on the way is a PortError that names the port."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from ray.serve.handle import DeploymentHandle

from app.core.ports import PortError
from deployments.methods import Method, methods

PATIENCE = 15.0
"""Seconds a port may take, queueing included."""
PULSE = 3.0
"""Seconds a readiness question may take."""


class PortClient:
    """Calls one deployment, by the methods of the port's Protocol. `port`: its name in the table and in errors."""

    def __init__(self, port: str, handle: DeploymentHandle) -> None:
        self._port = port
        self._handle = handle
        for method in methods(port):
            # Every attribute of a handle is a new handle: kept, it costs nothing a call.
            setattr(self, method.name, partial(self._ask, method, getattr(handle, method.name)))

    async def ready(self) -> bool:
        """Whether a replica answers now. Never raises."""
        try:
            async with asyncio.timeout(PULSE):
                return bool(await self._handle.ready.remote())
        except Exception:  # noqa: BLE001 - any failure means no
            return False

    async def _ask(self, method: Method, handle: DeploymentHandle, *args: Any, **named: Any) -> Any:
        values = method.values(args, named)
        if method.listed and not values[-1]:
            return []
        try:
            async with asyncio.timeout(PATIENCE):
                return await handle.remote(*values)
        except Exception as error:
            raise PortError(self._port, type(error).__name__) from error
