"""Who reads /metrics: everybody, or where the policy says so, keys of their own alone."""

from __future__ import annotations

from dataclasses import replace

import httpx

from app.testing.fakes import FakeAuthenticator
from tests.kit import KEY, WHO, Kit, serving


def statuses(kit: Kit, key: str, **policy: object) -> list[int]:
    with serving(kit.gateway(**policy), kit.metrics) as url, httpx.Client() as http:
        keys = ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {key}"})
        return [http.get(f"{url}/metrics", headers=one).status_code for one in keys]


def test_by_default_metrics_are_open() -> None:
    assert [200, 200, 200] == statuses(Kit(), KEY)


def test_by_config_they_want_a_key_that_may_read_them() -> None:
    closed = {"observability": {"metrics": "key"}}
    scoped = replace(WHO, scopes=frozenset({"metrics"}))
    other = replace(WHO, scopes=frozenset({"chat"}))
    assert [401, 401, 200] == statuses(Kit(authenticator=FakeAuthenticator({KEY: scoped})), KEY, **closed)
    assert [401, 401, 403] == statuses(Kit(authenticator=FakeAuthenticator({KEY: other})), KEY, **closed)
