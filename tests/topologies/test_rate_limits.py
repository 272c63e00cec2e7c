"""Rate limits as clients meet them, over HTTP and through the whole pipeline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from orion_plugins.gateway.settings import GatewaySettings

AUTH = "/api/v1/auth"
# Windows of hours: the time that really passes in a test gives nothing back.
LIMITED = GatewaySettings(
    address_limit="20/72000", user_limit="5/18000", login_limit="3/10800", reset_limit="2/7200", mfa_limit="2/7200"
)

pytestmark = [
    pytest.mark.reaches("local", "wire"),
    pytest.mark.orion(settings={"limits_url": "memory:", "plugins": {"gateway": LIMITED}}),
]


def limited(answer: httpx.Response, name: str, quota: int, window: int) -> int:
    """Check that `answer` is a 429 by the policy `name`, and return its Retry-After."""
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "gateway.rate_limited"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    wait = int(answer.headers["retry-after"])
    assert wait >= 1
    assert answer.headers["ratelimit-policy"] == f'"{name}";q={quota};w={window}'
    assert answer.headers["ratelimit"] == f'"{name}";r=0;t={wait}'
    return wait


def bearer(person: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {person.access_token}"}


async def test_request_n_plus_one_from_an_address_is_refused(orion: Any) -> None:
    """G20, G22: and waiting as long as the answer says is enough."""
    for _ in range(20):
        assert (await orion.http.get("/.well-known/jwks.json")).status_code == 200
    wait = limited(await orion.http.get("/.well-known/jwks.json"), "address", 20, 72000)

    await orion.advance(timedelta(seconds=wait))
    assert (await orion.http.get("/.well-known/jwks.json")).status_code == 200
    limited(await orion.http.get("/.well-known/jwks.json"), "address", 20, 72000)


async def test_a_person_has_a_limit_of_its_own_after_the_token(orion: Any) -> None:
    """G20: the key is the user if the token is valid."""
    ada, bob = await orion.sign_up(), await orion.sign_up()
    for _ in range(5):
        assert (await orion.http.get(f"{AUTH}/me", headers=bearer(ada))).status_code == 200
    wait = limited(await orion.http.get(f"{AUTH}/me", headers=bearer(ada)), "user", 5, 18000)
    assert (await orion.http.get(f"{AUTH}/me", headers=bearer(bob))).status_code == 200
    assert (await orion.http.get("/.well-known/jwks.json")).status_code == 200

    assert wait <= 3600


async def test_a_token_that_does_not_count_spends_the_limit_of_the_address_only(orion: Any) -> None:
    """G20: nobody is limited by what others claim to be."""
    ada = await orion.sign_up()
    broken = {"authorization": f"Bearer {ada.access_token[:-4]}AAAA"}
    for _ in range(10):
        assert (await orion.http.get(f"{AUTH}/me", headers=broken)).status_code == 401
    for _ in range(5):
        assert (await orion.http.get(f"{AUTH}/me", headers=bearer(ada))).status_code == 200


async def test_attempts_to_sign_in_have_a_bucket_of_their_own(orion: Any) -> None:
    """G20: separate buckets for login, reset and MFA."""
    guess = {"email": "ada@example.org", "password": "wrong horse battery staple"}
    for _ in range(3):
        assert (await orion.http.post(f"{AUTH}/login", json=guess)).status_code == 401
    limited(await orion.http.post(f"{AUTH}/login", json=guess), "login", 3, 10800)
    limited(await orion.http.post(f"{AUTH}/register", json=guess), "login", 3, 10800)
    # However it is spelled.
    limited(await orion.http.post(f"{AUTH}/login/", json=guess), "login", 3, 10800)

    assert (await orion.http.get("/.well-known/jwks.json")).status_code == 200


@pytest.mark.parametrize(("path", "name"), [(f"{AUTH}/password/reset", "reset"), (f"{AUTH}/mfa/verify", "mfa")])
async def test_resets_and_second_factors_are_counted_apart(orion: Any, path: str, name: str) -> None:
    """G20: whether there is such a person, or even such a route, makes no difference."""
    for _ in range(2):
        assert (await orion.http.post(path, json={"email": "nobody@example.org"})).status_code != 429
    limited(await orion.http.post(path, json={"email": "ada@example.org"}), name, 2, 7200)
    assert (await orion.http.post(f"{AUTH}/login", json={})).status_code == 422


async def test_whether_the_target_exists_makes_no_difference(orion: Any) -> None:
    """G20: the address is counted before anything is looked up (ossfolio#438)."""
    statuses = [(await orion.http.get(f"/api/v1/nothing/{number}")).status_code for number in range(20)]
    assert set(statuses) == {404}
    limited(await orion.http.get("/api/v1/nothing/20"), "address", 20, 72000)
    limited(await orion.http.get("/.well-known/jwks.json"), "address", 20, 72000)


async def test_health_is_never_counted(orion: Any) -> None:
    """G23."""
    for _ in range(30):
        assert (await orion.http.get("/health/live")).status_code == 200
    assert (await orion.http.get("/health/ready")).status_code == 200
    for _ in range(20):
        assert (await orion.http.get("/.well-known/jwks.json")).status_code == 200
    limited(await orion.http.get("/.well-known/jwks.json"), "address", 20, 72000)
    assert (await orion.http.get("/health/ready")).status_code == 200


async def test_a_request_that_asks_what_is_possible_costs_a_person_nothing(orion: Any) -> None:
    """G23."""
    ada = await orion.sign_up()
    for _ in range(8):
        assert (await orion.http.options(f"{AUTH}/me", headers=bearer(ada))).status_code == 204
    for _ in range(5):
        assert (await orion.http.get(f"{AUTH}/me", headers=bearer(ada))).status_code == 200
