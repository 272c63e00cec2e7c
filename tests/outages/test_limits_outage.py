"""Three gateways in processes of their own share their limits, and keep them when Redis goes away."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator

import attrs
import httpx
import pytest
from deployment import Fault

from orion_core.testing.engines import until
from orion_core.testing.ports import free_ports
from orion_core.testing.processes import Processes
from orion_core.testing.services import redis_url

pytestmark = pytest.mark.processes
KEYS = "/.well-known/jwks.json"
LOGIN = "/api/v1/auth/login"
REPLICAS = 3
TEN_DAYS = 864_000


@attrs.frozen
class Gateways:
    """The base URLs of the gateways, and what stands between them and Redis."""

    urls: list[str]
    redis: Fault


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Auth, and three gateways in front of it."""
    processes = Processes(tmp_path_factory.mktemp("limits"), ("auth", "gateway"), start=False)
    with Fault(redis_url(), 6379) as redis, processes:
        processes.env |= {
            "ORION_LIMITS_URL": redis.through(processes.env["ORION_CACHE_URL"]),
            "ORION_LIMITS_REPLICAS": str(REPLICAS),
            "ORION_GATEWAY_ADDRESS_LIMIT": f"100/{TEN_DAYS}",
            "ORION_GATEWAY_LOGIN_LIMIT": f"12/{TEN_DAYS}",
            "ORION_GATEWAY_CORS_ORIGINS": "https://app.example",
            # So that each test has addresses of its own.
            "ORION_TRUSTED_PROXIES": "127.0.0.0/8",
        }
        processes.start("auth")
        names = [f"gateway-{number}" for number in range(REPLICAS)]
        for name, port in zip(names, free_ports(REPLICAS), strict=True):
            processes.ports[name] = port
            processes.launch("gateway", ORION_PORT=str(port))
            processes.running[name] = processes.running.pop("gateway")
        for name in names:
            processes.wait_ready(name)
        yield Gateways([processes.url(name) for name in names], redis)


def somebody() -> dict[str, str]:
    """Headers of a request from an address that nobody else has."""
    return {"x-forwarded-for": ".".join(["10", *(str(secrets.randbelow(256)) for _ in range(3))])}


async def guess(client: httpx.AsyncClient, url: str, who: dict[str, str]) -> int:
    body = {"email": "ada@example.org", "password": "wrong horse battery"}
    return (await client.post(f"{url}{LOGIN}", json=body, headers=who)).status_code


async def test_fifty_clients_over_three_processes_get_exactly_the_limit(gateways: Gateways) -> None:
    """G20."""
    who = somebody()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:

        async def client(number: int) -> list[int]:
            urls = [gateways.urls[(number + turn) % REPLICAS] for turn in range(4)]
            return [(await http.get(f"{url}{KEYS}", headers=who)).status_code for url in urls]

        found = await asyncio.gather(*map(client, range(50)))

    assert Counter(status for statuses in found for status in statuses) == {200: 100, 429: 100}


async def test_pages_are_told_by_the_gateway_what_they_may_read_of_a_service_behind_it(gateways: Gateways) -> None:
    """G30, G91: through the proxy as in one process."""
    async with httpx.AsyncClient(base_url=gateways.urls[0], trust_env=False, timeout=30) as http:
        for origin, allowed in (("https://app.example", ["https://app.example"]), ("https://evil.org", []), ("", [])):
            page = somebody() | ({"origin": origin} if origin else {})
            for answer in (await http.get(KEYS, headers=page), await http.get("/api/v1/auth/me", headers=page)):
                assert answer.status_code in (200, 401)
                assert answer.headers.get_list("access-control-allow-origin") == allowed
                assert "Origin" in answer.headers["vary"]
        ask = somebody() | {"origin": "https://app.example", "access-control-request-method": "DELETE"}
        assert (await http.options("/api/v1/auth/me", headers=ask)).status_code == 204


@pytest.mark.parametrize("how", ["refuse", "stall"])
async def test_without_redis_logins_stay_limited_and_nothing_fails(gateways: Gateways, how: str) -> None:
    """G21: each gateway goes on with a third of the limit, less what it let pass before; back without a restart."""
    before, during, after = somebody(), somebody(), somebody()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:

        async def limits_are(url: str, status: str) -> bool:
            answer = await http.get(f"{url}/health/ready")
            assert answer.status_code == 200
            return bool(answer.json()["checks"]["gateway:limits"] == [{"status": status}])

        async def each(status: str) -> None:
            for url in gateways.urls:
                await until(lambda url=url: limits_are(url, status), f"{url} says {status}", 30.0)

        assert [await guess(http, gateways.urls[0], before) for _ in range(4)] == [401] * 4
        gateways.redis.begin(how)
        try:
            # The first gateway spent its third for this address, the others let four more pass each.
            asked = [[await guess(http, url, before) for _ in range(6)] for url in gateways.urls]
            assert asked == [[429] * 6, [401] * 4 + [429] * 2, [401] * 4 + [429] * 2]
            many = await asyncio.gather(*(guess(http, url, during) for url in gateways.urls for _ in range(10)))
            assert Counter(many) == {401: 12, 429: 18}
            await each("warn")
        finally:
            gateways.redis.heal()
        await each("pass")
        found = [await guess(http, gateways.urls[turn % REPLICAS], after) for turn in range(15)]

    assert found == [401] * 12 + [429] * 3
