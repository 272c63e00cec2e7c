"""Roles, grants, accounts of others and API keys, as every reach shows them."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import uuid4

import pytest

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_access import Question
from orion_core.testing import Orion, Person
from orion_core.testing.engines import until

pytestmark = pytest.mark.reaches("local", "wire", "processes")

AUTH = "/api/v1/auth"
ADMIN = f"{AUTH}/admin"


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def make_role(orion: Orion, admin: Person, *permissions: str) -> str:
    name = f"role-{secrets.token_hex(6)}"
    body = {"name": name, "permissions": list(permissions), "description": "for a test"}
    answer = await orion.http.post(f"{ADMIN}/roles", json=body, headers=admin.headers)
    assert answer.status_code == 201, answer.text
    return name


async def give_role(orion: Orion, admin: Person, who: Person, role: str) -> None:
    answer = await orion.http.put(f"{ADMIN}/users/{who.id}/roles/{role}", headers=admin.headers)
    assert answer.status_code == 204, answer.text


async def make_key(orion: Orion, who: Person, *scopes: str) -> tuple[str, dict[str, str]]:
    body = {"name": "import", "expires_in_days": 30, "scopes": list(scopes)}
    answer = await orion.http.post(f"{AUTH}/api-keys", json=body, headers=who.headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    return made["key"]["id"], {"authorization": f"Bearer {made['secret']}"}


async def test_a_role_counts_for_the_person_at_once_where_auth_is_and_soon_everywhere(orion: Orion) -> None:
    """A37, A53: the routes of another service ask for a permission that a role gives."""
    admin, ada = await orion.admin(), await orion.sign_up()
    asked = f"/api/v1/users/{admin.id}"
    await orion.settle()
    assert problem(await orion.http.get(asked, headers=ada.headers)) == (404, "users.not_found")

    role = await make_role(orion, admin, "users:read")
    await give_role(orion, admin, ada, role)
    await answers(orion, asked, ada.headers, 200)
    me = (await orion.http.get(f"{AUTH}/me", headers=ada.headers)).json()
    assert (me["roles"], me["permissions"]) == ([role], ["users:read"])

    changed = await orion.http.put(f"{ADMIN}/roles/{role}", json={"permissions": []}, headers=admin.headers)
    assert changed.json() == {"name": role, "permissions": [], "description": "", "built_in": False}
    await answers(orion, asked, ada.headers, 404)


async def test_roles_are_listed_read_and_removed(orion: Orion) -> None:
    """A53."""
    admin, ada = await orion.admin(), await orion.sign_up()
    role = await make_role(orion, admin, "users:read")
    listed = (await orion.http.get(f"{ADMIN}/roles", headers=admin.headers)).json()["items"]
    assert {"name": "admin", "permissions": ["*"], "description": "everything", "built_in": True} in listed
    shown = await orion.http.get(f"{ADMIN}/roles/{role}", headers=admin.headers)
    assert shown.json() in listed
    await give_role(orion, admin, ada, role)

    assert (await orion.http.delete(f"{ADMIN}/roles/{role}", headers=admin.headers)).status_code == 204
    held = await orion.http.get(f"{ADMIN}/users/{ada.id}/roles", headers=admin.headers)
    assert held.json() == {"user_id": str(ada.id), "roles": [], "permissions": []}
    gone = await orion.http.get(f"{ADMIN}/roles/{role}", headers=admin.headers)
    assert problem(gone) == (404, "auth.no_such_role")


async def test_a_role_is_taken_from_a_person(orion: Orion) -> None:
    """A53."""
    admin, ada = await orion.admin(), await orion.sign_up()
    await give_role(orion, admin, ada, "admin")
    for _ in range(2):
        taken = await orion.http.delete(f"{ADMIN}/users/{ada.id}/roles/admin", headers=admin.headers)
        assert taken.status_code == 204
    assert (await orion.http.get(f"{AUTH}/me", headers=ada.headers)).json()["roles"] == []


async def test_refusals_say_what_is_wrong(orion: Orion) -> None:
    """A56."""
    admin, ada = await orion.admin(), await orion.sign_up()
    lead = await make_role(orion, admin, "roles:manage", "grants:manage", "accounts:manage")
    await give_role(orion, admin, ada, lead)
    await answers(orion, f"{ADMIN}/roles", ada.headers, 200)
    grant = {"permission": "users:read", "resource": "user:1", "user_id": str(ada.id)}
    asks = [
        ("PUT", f"/users/{ada.id}/roles/admin", None, 403, "auth.cannot_grant"),
        ("DELETE", f"/users/{admin.id}/roles/admin", None, 403, "auth.cannot_grant"),
        ("POST", "/roles", {"name": "more", "permissions": ["users:read"]}, 403, "auth.cannot_grant"),
        ("PUT", f"/roles/{lead}", {"permissions": ["*"]}, 403, "auth.cannot_grant"),
        ("POST", "/grants", grant, 403, "auth.cannot_grant"),
        ("POST", f"/users/{admin.id}/disable", None, 403, "auth.cannot_grant"),
        ("POST", "/roles", {"name": lead, "permissions": []}, 409, "auth.role_taken"),
        ("PUT", "/roles/admin", {"permissions": []}, 409, "auth.role_protected"),
        ("DELETE", "/roles/admin", None, 409, "auth.role_protected"),
        ("PUT", f"/users/{uuid4()}/roles/{lead}", None, 404, "auth.no_such_account"),
        ("PUT", f"/users/{ada.id}/roles/nobody", None, 404, "auth.no_such_role"),
        ("GET", f"/users/{uuid4()}", None, 404, "auth.no_such_account"),
        ("DELETE", f"/grants/{uuid4()}", None, 404, "auth.no_such_grant"),
        ("GET", "/grants?role=nobody", None, 404, "auth.no_such_role"),
        ("GET", "/grants?cursor=x", None, 400, "malformed"),
    ]
    for method, path, body, status, code in asks:
        answer = await orion.http.request(method, ADMIN + path, json=body, headers=ada.headers)
        assert problem(answer) == (status, code), (method, path, answer.text)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("admin/roles", {"name": "Upper", "permissions": []}, "name"),
        ("admin/roles", {"name": "x", "permissions": ["users:read", "*:read"]}, "permissions.1"),
        ("admin/roles", {"name": "x", "permissions": ["users"]}, "permissions.0"),
        ("admin/roles", {"name": "x", "permissions": ["users:re*d"]}, "permissions.0"),
        ("admin/grants", {"permission": "*:read", "resource": "user:1", "role": "admin"}, "permission"),
        ("admin/grants", {"permission": "users:read", "resource": "user", "role": "admin"}, "resource"),
        ("admin/grants", {"permission": "users:read", "resource": "us*:1", "role": "admin"}, "resource"),
        ("admin/grants", {"permission": "users:read", "resource": "user:a b", "role": "admin"}, "resource"),
        ("admin/grants", {"permission": "users:read", "resource": "user:1"}, "user_id"),
        ("admin/grants", {"permission": "users:read", "resource": "user:1", "role": "a", "effect": "maybe"}, "effect"),
        ("api-keys", {"name": "", "expires_in_days": 1}, "name"),
        ("api-keys", {"name": "x"}, "expires_in_days"),
        ("api-keys", {"name": "x", "expires_in_days": 0}, "expires_in_days"),
        ("api-keys", {"name": "x", "expires_in_days": 401}, "expires_in_days"),
        ("api-keys", {"name": "x", "expires_in_days": 1, "scopes": ["own"]}, "scopes.0"),
    ],
)
async def test_what_cannot_be_is_refused_naming_the_field(orion: Orion, path: str, body: Any, field: str) -> None:
    """A53: a wildcard counts only at the end."""
    admin = await orion.admin()
    answer = await orion.http.post(f"{AUTH}/{path}", json=body, headers=admin.headers)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_fields_that_the_service_decides_cannot_be_smuggled_in(orion: Orion) -> None:
    """A54: ASVS 15.3.3."""
    admin, ada = await orion.admin(), await orion.sign_up()
    await orion.settle()
    more = {"id": str(admin.id), "user_id": str(admin.id), "roles": ["admin"], "permissions": ["*"], "status": "closed"}
    email = f"person-{secrets.token_hex(6)}@example.org"
    made = await orion.http.post(f"{AUTH}/register", json={**more, "email": email, "password": ada.password})
    if made.status_code == 201:
        me = await orion.http.get(f"{AUTH}/me", headers={"authorization": f"Bearer {made.json()['access_token']}"})
        assert (me.json()["roles"], me.json()["permissions"]) == ([], [])
        assert me.json()["id"] == made.json()["user"]["id"] != str(admin.id)
    else:
        assert made.status_code == 422
    key = {**more, "name": "import", "expires_in_days": 1, "token_hash": "0" * 64, "last_used_at": None}
    issued = await orion.http.post(f"{AUTH}/api-keys", json=key, headers=ada.headers)
    assert issued.status_code in (201, 422)
    assert (await orion.http.get(f"{AUTH}/api-keys", headers=admin.headers)).json()["items"] == []
    role = {**more, "name": f"role-{secrets.token_hex(6)}", "permissions": [], "built_in": True}
    given = await orion.http.post(f"{ADMIN}/roles", json=role, headers=admin.headers)
    assert given.status_code == 422 or (given.json()["built_in"], given.json()["permissions"]) == (False, [])
    changed = await orion.http.patch("/api/v1/users/me", json={"user_id": str(admin.id)}, headers=ada.headers)
    assert changed.status_code == 422


async def test_a_grant_is_given_seen_decided_by_and_taken_back(orion: Orion) -> None:
    """A53."""
    admin, ada = await orion.admin(), await orion.sign_up()
    resource = f"invoice:{secrets.token_hex(6)}"
    body = {"permission": "invoices:read", "resource": resource, "user_id": str(ada.id)}
    made = [await orion.http.post(f"{ADMIN}/grants", json=body, headers=admin.headers) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert made[0].json()["granted_by"] == f"user:{admin.id}"
    listed = await orion.http.get(f"{ADMIN}/grants?user_id={ada.id}", headers=admin.headers)
    assert listed.json() == {"items": [made[0].json()], "next_cursor": ""}

    question = Question("invoices:read", (resource, "invoice:1"))
    with orion.acting_as(ada):
        answer = await orion.service(Auth).decide(question)
    assert (answer.allowed, answer.reasons) == ((True, False), ("grant", "no_permission"))
    taken = await orion.http.delete(f"{ADMIN}/grants/{made[0].json()['id']}", headers=admin.headers)
    assert taken.status_code == 204
    with orion.acting_as(ada):
        assert (await orion.service(Auth).decide(question)).allowed == (False, False)


async def test_a_disabled_account_is_locked_out_at_once_and_may_come_back(orion: Orion) -> None:
    """A30, A34."""
    admin, ada = await orion.admin(), await orion.sign_up()
    key_id, key = await make_key(orion, ada, "own:read")
    await orion.settle()
    await answers(orion, "/api/v1/users/me", key, 200)

    assert (await orion.http.post(f"{ADMIN}/users/{ada.id}/disable", headers=admin.headers)).status_code == 204
    shown = (await orion.http.get(f"{ADMIN}/users/{ada.id}", headers=admin.headers)).json()
    assert (shown["id"], shown["email"], shown["status"], shown["roles"]) == (str(ada.id), ada.email, "disabled", [])
    assert (await orion.http.get(f"{AUTH}/me", headers=ada.headers)).status_code == 401
    for headers in (ada.headers, key):
        await answers(orion, "/api/v1/users/me", headers, 401)
    login = {"email": ada.email, "password": ada.password}
    refused = await orion.http.post(f"{AUTH}/login", json=login)
    assert problem(refused) == (401, "auth.invalid_credentials")
    spent = await orion.http.post(f"{AUTH}/refresh", json={"refresh_token": ada.refresh_token})
    assert problem(spent) == (400, "auth.invalid_grant")

    assert (await orion.http.post(f"{ADMIN}/users/{ada.id}/enable", headers=admin.headers)).status_code == 204
    back = await orion.sign_in(ada.email, ada.password)
    assert (await orion.http.get(f"{AUTH}/me", headers=ada.headers)).status_code == 401
    listed = (await orion.http.get(f"{AUTH}/api-keys", headers=back.headers)).json()["items"]
    assert [each["id"] for each in listed] == [key_id]


async def test_an_api_key_reads_and_writes_what_is_its_owners_as_its_scopes_say(orion: Orion) -> None:
    """A53."""
    ada = await orion.sign_up()
    await orion.settle()
    _, none = await make_key(orion, ada)
    _, reads = await make_key(orion, ada, "own:read")
    _, both = await make_key(orion, ada, "own:read", "own:write")
    me, change = "/api/v1/users/me", {"name": "Ada by key"}

    assert (await orion.http.get(me, headers=none)).status_code == 403
    assert (await orion.http.get(me, headers=reads)).json()["user_id"] == str(ada.id)
    assert (await orion.http.patch(me, json=change, headers=reads)).status_code == 403
    assert (await orion.http.patch(me, json=change, headers=both)).status_code == 200
    assert (await orion.http.delete(me, headers=both)).status_code == 403
    for method, path in (("GET", "me"), ("GET", "api-keys"), ("POST", "api-keys"), ("GET", "admin/roles")):
        refused = await orion.http.request(method, f"{AUTH}/{path}", headers=both)
        assert problem(refused) == (403, "forbidden"), path


async def test_the_scopes_of_an_api_key_narrow_what_its_owner_may(orion: Orion) -> None:
    """A56."""
    admin, ada = await orion.admin(), await orion.sign_up()
    await orion.settle()
    _, key = await make_key(orion, admin, "users:read", "own:read")
    assert (await orion.http.get("/api/v1/users?filter=id pr", headers=key)).status_code in (200, 400)
    for path in ("/api/v1/webhooks/endpoints", "/api/v1/analytics/trends?name=user.registered"):
        assert problem(await orion.http.get(path, headers=key)) == (403, "forbidden")
    refused = await orion.http.post(
        f"{AUTH}/api-keys",
        json={"name": "more", "expires_in_days": 1, "scopes": ["users:read"]},
        headers=ada.headers,
    )
    assert problem(refused) == (422, "auth.scope_not_held")
    assert refused.json()["errors"][0]["field"] == "scopes.0"


async def test_a_revoked_api_key_counts_nowhere_soon(orion: Orion) -> None:
    """A35."""
    ada, grace = await orion.sign_up(), await orion.sign_up()
    await orion.settle()
    key_id, key = await make_key(orion, ada, "own:read")
    await answers(orion, "/api/v1/users/me", key, 200)

    foreign = await orion.http.delete(f"{AUTH}/api-keys/{key_id}", headers=grace.headers)
    assert problem(foreign) == (404, "auth.no_such_api_key")
    assert (await orion.http.delete(f"{AUTH}/api-keys/{key_id}", headers=ada.headers)).status_code == 204
    await answers(orion, "/api/v1/users/me", key, 401)
    assert (await orion.http.get(f"{AUTH}/api-keys", headers=ada.headers)).json() == {"items": []}


@pytest.mark.parametrize("token", ["oak_", "oak_" + "x" * 43, "oak_" + "x" * 4000, "oak_~~~", "OAK_" + "x" * 43])
async def test_what_only_looks_like_an_api_key_is_refused(orion: Orion, token: str) -> None:
    """A31: like every other token that does not count."""
    answer = await orion.http.get("/api/v1/users/me", headers={"authorization": f"Bearer {token}"})
    assert problem(answer) == (401, "unauthenticated")


async def answers(orion: Orion, path: str, headers: dict[str, str], status: int) -> None:
    """Wait until a service that hears of changes by events answers so."""
    await orion.settle()

    async def so() -> bool:
        return (await orion.http.get(path, headers=headers)).status_code == status

    await until(so, f"GET {path} answering {status}")
