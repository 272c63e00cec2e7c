"""The health of a deployment, as every reach shows it."""

from __future__ import annotations

import pytest

from orion_core.testing import Orion

pytestmark = pytest.mark.reaches("local", "wire", "processes")


async def test_everybody_learns_that_and_administrators_learn_why(orion: Orion) -> None:
    """G80: live, ready and the aggregate, in the form of the draft; details by permission only."""
    person, admin = await orion.sign_up(), await orion.admin()
    live = await orion.http.get("/health/live")
    ready = await orion.http.get("/health/ready")
    plain = await orion.http.get("/health")
    refused = await orion.http.get("/health", headers=person.headers)
    full = await orion.http.get("/health", headers=admin.headers)

    assert live.json() == {"status": "pass"}
    for answer in (live, ready, plain, refused, full):
        assert (answer.status_code, answer.json()["status"]) == (200, "pass"), answer.text
        assert answer.headers["content-type"] == "application/health+json"
        assert answer.headers["cache-control"] == "no-store"
    assert {"gateway:bus", "gateway:cache"} <= set(ready.json()["checks"])
    assert set(plain.json()) == set(refused.json()) == {"status", "services"}
    assert {"auth", "gateway", "users"} <= set(plain.json()["services"])
    for name in ("auth:database", "users:database", "gateway:cache"):
        [check] = full.json()["checks"][name]
        assert (check["status"], check["observedUnit"]) == ("pass", "ms")
