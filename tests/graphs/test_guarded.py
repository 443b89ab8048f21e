"""Ray is reached by nobody without a token, but from its own machine; and its proxy believes no forwarded address."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.config import ConfigError
from graphs.guarded import check_guarded
from graphs.launch import QUIET

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", [None, "", "disabled"])
@pytest.mark.parametrize("address", ["10.0.0.7", "0.0.0.0", "2001:db8::1", "node-1"])
def test_off_loopback_a_graph_starts_with_authentication_alone(address: str, mode: str | None) -> None:
    with pytest.raises(ConfigError, match="RAY_AUTH_MODE=token"):
        check_guarded(address, mode)
    check_guarded(address, "token")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_it_starts_without(address: str) -> None:
    check_guarded(address, None)


def test_penstock_serve_binds_ray_to_loopback_and_guards_it() -> None:
    tree = ast.parse((ROOT / "graphs" / "run.py").read_text())
    (start,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "ray.init")
    assert {"_node_ip_address": "LOOPBACK"}.items() <= {
        one.arg: ast.unparse(one.value) for one in start.keywords
    }.items()
    assert "token" == QUIET["RAY_AUTH_MODE"]
    ask = "from ray._private.services import *; print(get_node_ip_address(), resolve_ip_for_localhost('127.0.0.1'))"
    told = subprocess.run(
        [sys.executable, "-c", ask], env={**os.environ, **QUIET}, capture_output=True, text=True, check=True
    )
    assert "127.0.0.1 127.0.0.1" == told.stdout.splitlines()[-1]


async def test_the_proxys_server_believes_no_forwarded_address_of_its_own_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", QUIET["FORWARDED_ALLOW_IPS"])
    seen = []

    async def app(scope: dict, *_: object) -> None:  # type: ignore[type-arg]
        seen.append(scope["client"][0])

    server = ProxyHeadersMiddleware(app, Config(app).forwarded_allow_ips)  # type: ignore[arg-type]
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
    await server(scope, None, None)  # type: ignore[arg-type]
    assert ["127.0.0.1"] == seen
