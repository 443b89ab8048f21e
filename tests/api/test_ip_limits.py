"""Limits by address: what is refused costs no reading, and nobody pays for a stranger."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.api.ip_limits import IpLimiter
from app.api.token_buckets import TokenBuckets, caller
from app.core.errors import ApiError
from tests.kit import KEY, Kit, serving


def request(peer: str | None = "192.0.2.1", *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    client = None if peer is None else (peer, 4711)
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "client": client})


def passes(door: IpLimiter, asking: Request) -> bool:
    try:
        door.check(asking)
        door.check_failures(asking)
    except ApiError:
        return False
    return True


# -- over a real server ---------------------------------------------------------------------------


def test_guessed_keys_beyond_the_limit_are_told_to_wait_and_a_right_one_from_there_passes() -> None:
    kit = Kit()
    with serving(kit.gateway(ip_limits={"failures_per_minute": 5})) as url, httpx.Client() as http:
        answers = [
            http.get(f"{url}/v1/models", headers={"authorization": f"Bearer guess-{number}"}) for number in range(50)
        ]
        right = http.get(f"{url}/v1/models", headers={"authorization": f"Bearer {KEY}"})
    assert [401] * 5 + [429] * 45 == [answer.status_code for answer in answers]
    assert 200 == right.status_code
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
    assert "rate_limit_exceeded" == answers[-1].json()["error"]["code"]


def test_keys_of_requests_beyond_the_limit_are_never_looked_up_though_right() -> None:
    kit = Kit()
    with serving(kit.gateway(ip_limits={"requests_per_minute": 3})) as url, httpx.Client() as http:
        headers = {"authorization": f"Bearer {KEY}"}
        statuses = [http.get(f"{url}/v1/models", headers=headers).status_code for _ in range(10)]
    assert [200] * 3 + [429] * 7 == statuses
    assert [KEY] * 3 == kit.authenticator.asked


async def test_a_refused_request_is_answered_before_its_body_comes() -> None:
    with serving(Kit().gateway(ip_limits={"requests_per_minute": 1})) as url:
        port = int(url.rpartition(":")[2])
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        async with httpx.AsyncClient() as http:
            await http.get(f"{url}/v1/models")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}content-length: 1000000\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.readline(), 3)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 429")


# -- whose address --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hops", "peer", "forwarded", "expected"),
    [
        (0, "192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        (1, "192.0.2.1", ["203.0.113.5, 198.51.100.9"], "198.51.100.9"),
        (2, "192.0.2.1", ["203.0.113.5, 198.51.100.9"], "203.0.113.5"),
        (2, "192.0.2.1", ["203.0.113.5", "198.51.100.9"], "203.0.113.5"),
        (3, "192.0.2.1", ["203.0.113.5, 198.51.100.9"], "192.0.2.1"),
        (1, "192.0.2.1", [], "192.0.2.1"),
        (1, "192.0.2.1", [""], "192.0.2.1"),
        (1, "192.0.2.1", ["198.51.100.9:1234"], "198.51.100.9"),
        (1, "192.0.2.1", ['"[2001:db8::7]:443"'], "2001:db8::/64"),
        (1, "192.0.2.1", ["2001:db8::7"], "2001:db8::/64"),
        (0, "::ffff:192.0.2.1", [], "192.0.2.1"),
        (1, "192.0.2.1", ["unknown"], "unknown"),
        (0, None, [], "unknown"),
    ],
)
def test_the_address_is_the_peers_or_the_one_the_outermost_trusted_proxy_saw(
    hops: int, peer: str | None, forwarded: list[str], expected: str
) -> None:
    assert expected == IpLimiter(trusted_hops=hops)._caller(request(peer, *forwarded))


def test_a_forged_list_buys_no_new_bucket() -> None:
    door = IpLimiter(requests_per_minute=2, trusted_hops=1)
    forged = [request("192.0.2.1", f"10.0.0.{number}, 198.51.100.9") for number in range(5)]
    assert [True, True, False, False, False] == [passes(door, one) for one in forged]


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_addresses_of_one_v6_network_are_one_caller_and_of_two_are_two(ip: IPv6Address, host: int) -> None:
    network = int(ip) >> 64
    if ip.ipv4_mapped or network == 0:
        return
    assert caller(str(ip)) == caller(str(IPv6Address(network << 64 | host)))
    assert caller(str(ip)) != caller(str(IPv6Address((network ^ 1) << 64 | host)))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_v4_addresses_are_each_a_caller(one: IPv4Address, other: IPv4Address) -> None:
    assert (one == other) == (caller(str(one)) == caller(str(other)))


# -- how often ------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.lists(st.floats(0, 30), max_size=120))
def test_in_any_time_no_more_than_a_minutes_worth_and_its_refill_passes(per_minute: int, pauses: list[float]) -> None:
    knocks, now, passed = TokenBuckets(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        passed += not knocks.take("a", now)
        assert passed <= per_minute * (1 + now / 60) + 1e-3


@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=50))
def test_who_waits_as_told_is_let_in(per_minute: int, pauses: list[float]) -> None:
    knocks, now = TokenBuckets(per_minute), 1e9
    for pause in pauses:
        now += pause
        if wait := knocks.take("a", now):
            assert wait == knocks.wait("a", now)
            now += wait
            assert 0 == knocks.take("a", now)


def test_one_address_does_not_pay_for_another() -> None:
    door = IpLimiter(requests_per_minute=1, failures_per_minute=1)
    assert [True, False] == [passes(door, request("192.0.2.1")) for _ in range(2)]
    door.failed(request("192.0.2.2"))
    assert [False, True] == [passes(door, request(f"192.0.2.{last}")) for last in (2, 3)]


def test_wrong_keys_shut_the_door_until_the_bucket_refills_and_are_told() -> None:
    now, told = [0.0], []
    door = IpLimiter(failures_per_minute=2, told=told.append, clock=lambda: now[0])
    for _ in range(2):
        assert passes(door, request())
        door.failed(request())
    assert not passes(door, request())
    now[0] = 31
    assert passes(door, request())
    door.failed(request())
    assert not passes(door, request())
    assert ["failures", "failures"] == told


def test_a_limit_of_zero_is_none_and_remembers_nobody() -> None:
    door = IpLimiter()
    for _ in range(1000):
        door.check(request())
        door.failed(request())
    assert (0, 0) == (len(door._requests), len(door._failures))


def test_memory_is_bounded_and_who_was_not_heard_of_for_longest_is_forgotten() -> None:
    knocks = TokenBuckets(1, size=3)
    for who in ("a", "b", "c", "a", "d"):  # `a` is refused the second time, and heard of
        knocks.take(who, 0.0)
    assert 3 == len(knocks)
    assert [True, False, True, True] == [bool(knocks.wait(who, 0.0)) for who in ("a", "b", "c", "d")]


async def test_a_right_key_is_not_counted_as_a_failure() -> None:
    with serving(Kit().gateway(ip_limits={"failures_per_minute": 1})) as url:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as http:
            statuses: list[Any] = [(await http.get(f"{url}/v1/models")).status_code for _ in range(5)]
    assert [200] * 5 == statuses
