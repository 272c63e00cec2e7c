"""Every route of every service against every kind of caller, about things that are there."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

import pytest
from authorisation_rows import API, CALLERS, ROWS, World

from orion_core.testing import Orion, Person
from orion_plugins.auth.settings import AuthSettings
from orion_plugins.storage.settings import StorageSettings

pytestmark = pytest.mark.reaches("local", "wire")

METHODS = ("get", "put", "post", "delete", "patch", "head")
LEAVES = (
    "DELETE /api/v1/users/me",
    "POST /api/v1/auth/logout",
    "DELETE /api/v1/auth/sessions",
    "POST /api/v1/auth/password/change",
)
"""Who asks for these is gone afterwards, so somebody new asks."""
WITHOUT_LIMITS = {
    "storage": StorageSettings(buckets_per_person=10_000),
    "auth": AuthSettings(mails_per_minute=10_000, mails_per_hour=10_000, failures_per_address=10_000),
}


async def test_every_route_has_a_row(orion: Orion) -> None:
    """A54: a route about which nobody has said who may use it is not ready."""
    document = (await orion.http.get("/schema/openapi.json")).json()
    found = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item if method in METHODS
    }
    assert sorted(found ^ set(ROWS)) == [], (
        "write a row in authorisation_rows.py, or remove that of a route that is gone"
    )


@pytest.mark.orion(settings={"plugins": WITHOUT_LIMITS})
@pytest.mark.parametrize("service", sorted({route.split("/")[3] for route in ROWS if API in route} | {"jwks.json"}))
async def test_every_route_answers_each_caller_as_its_rule_says(orion: Orion, service: str) -> None:
    """A54, A55: no wrong 2xx, no 5xx, and 404 for what is hidden."""
    world = await people(orion)
    wrong = []
    for route, row in ROWS.items():
        if service not in route.split("/"):
            continue
        for caller, expected in row.expected().items():
            # Things anew for each: what one caller removed would be missing for the next.
            given = await row.plant(world)
            headers = world.headers[caller]
            if route in LEAVES and caller in ("other", "wrong_role", "owner", "admin"):
                headers = (await orion.sign_up()).headers
                await orion.settle()
            method, _, template = route.partition(" ")
            path = template.format(**{name: quote(str(each)) for name, each in given.items()})
            sent = {name: given[name] for name in ("json", "content", "files", "params") if name in given}
            answer = await orion.http.request(method, path, headers={**headers, **given.get("more", {})}, **sent)
            if answer.status_code != expected:
                wrong.append((route, caller, f"{answer.status_code}, not {expected}", answer.text[:160]))
    assert wrong == []


async def people(orion: Orion) -> World:
    """The owner, and everybody else who asks."""
    owner, admin, other, clerk = (
        await orion.sign_up(),
        await orion.admin(),
        await orion.sign_up(),
        await orion.sign_up(),
    )
    await orion.settle()
    left = await orion.sign_in(owner.email, owner.password)
    gone = await orion.http.post(f"{API}/auth/logout", headers=left.headers)
    assert gone.status_code == 204
    role = f"role-{secrets.token_hex(6)}"
    made = await orion.http.post(
        f"{API}/auth/admin/roles", json={"name": role, "permissions": ["memos:read"]}, headers=admin.headers
    )
    assert made.status_code == 201
    given = await orion.http.put(f"{API}/auth/admin/users/{clerk.id}/roles/{role}", headers=admin.headers)
    assert given.status_code == 204
    headers: dict[str, Any] = {
        "anonymous": {},
        "revoked": left.headers,
        "key": await a_key(orion, owner),
        "admin_key": await a_key(orion, admin),
        "other": other.headers,
        "wrong_role": clerk.headers,
        "owner": owner.headers,
        "admin": admin.headers,
    }
    assert tuple(headers) == CALLERS
    await orion.settle()
    return World(orion, owner, admin, headers)


async def a_key(orion: Orion, person: Person) -> dict[str, str]:
    """An API key without any scope."""
    body = {"name": "matrix", "expires_in_days": 1}
    made = await orion.http.post(f"{API}/auth/api-keys", json=body, headers=person.headers)
    assert made.status_code == 201
    return {"authorization": f"Bearer {made.json()['secret']}"}
