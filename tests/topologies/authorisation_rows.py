"""What each route answers to whom: one row for every operation of the OpenAPI document.

A route that is not here fails `test_authorisation_matrix.py`: say by which rule it decides, and how to plant what it is
about.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal
from uuid import uuid4

import attrs
import httpx
import jwt

from orion_core.testing import Orion, Person

CALLERS = ("anonymous", "revoked", "key", "admin_key", "other", "wrong_role", "owner", "admin")
Caller = Literal["anonymous", "revoked", "key", "admin_key", "other", "wrong_role", "owner", "admin"]
API = "/api/v1"
PASSWORD = "correct horse battery staple"


@attrs.frozen
class World:
    """A platform with the people of the matrix in it."""

    orion: Orion
    owner: Person
    admin: Person
    headers: Mapping[str, Mapping[str, str]]

    async def ask(self, who: Person, method: str, path: str, **given: Any) -> httpx.Response:
        """The answer to somebody who may."""
        answer = await self.orion.http.request(method, API + path, headers=who.headers, **given)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer

    async def posted(self, who: Person, path: str, **body: Any) -> Any:
        """The document that a POST of somebody who may answers."""
        return (await self.ask(who, "POST", path, json=body)).json()


Given = dict[str, Any]
"""What a request needs: parts of the path by name; `json`, `content`, `files`, `params` or `more` headers beside."""
Plant = Callable[[World], Awaitable[Given]]


async def nothing(world: World) -> Given:
    return {}


def sends(plant: Plant = nothing, **given: Any) -> Plant:
    """What `plant` gives, and `given`; a function in it makes something from what was planted."""

    async def planted(world: World) -> Given:
        found = await plant(world)
        return {**found, **{name: each(found) if callable(each) else each for name, each in given.items()}}

    return planted


def fresh(start: str) -> str:
    """A name of its own."""
    return f"{start}-{secrets.token_hex(6)}"


def picture() -> bytes:
    """A PNG of two by two points."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head, rows = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0), (b"\0" + b"\x80" * 6) * 2
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# What routes are about


async def the_owner(world: World) -> Given:
    return {"user_id": world.owner.id}


async def somebody(world: World) -> Given:
    """A person of their own, who may be closed or erased."""
    person = await world.orion.sign_up()
    await world.orion.settle()
    return {"user_id": person.id}


async def an_owner_with_a_picture(world: World) -> Given:
    headers = {**world.owner.headers, "content-type": "image/png"}
    shown = await world.orion.http.put(f"{API}/users/me/avatar", content=picture(), headers=headers)
    assert shown.is_success, shown.text
    _, _, rest = shown.json()["avatar_url"].partition("/pictures/")
    picture_id, _, size = rest.partition("/")
    return {"user_id": world.owner.id, "picture_id": picture_id, "size": size}


async def a_preference(world: World) -> Given:
    await world.ask(world.owner, "PUT", "/users/me/preferences/editor.theme", json={"value": "dark"})
    return {"key": "editor.theme", "user_id": world.owner.id}


async def a_bucket(world: World) -> Given:
    made = await world.posted(world.owner, "/storage/buckets", name=fresh("bucket"))
    return {"bucket": made["name"], "name": fresh("bucket")}


async def an_object(world: World) -> Given:
    found = await a_bucket(world)
    await world.ask(world.owner, "PUT", f"/storage/buckets/{found['bucket']}/objects/secret.txt", content=b"secret")
    return {**found, "key": "secret.txt"}


async def a_right(world: World) -> Given:
    found = await an_object(world)
    path = f"/storage/buckets/{found['bucket']}/grants"
    made = await world.posted(world.owner, path, subject=f"user:{uuid4()}", right="read")
    return {**found, "grant_id": made["id"]}


async def an_endpoint(world: World) -> Given:
    made = await world.posted(
        world.admin, "/webhooks/endpoints", url="https://hooks.example.org/in", event_types=["nothing.happens"]
    )
    return {"endpoint_id": made["endpoint"]["id"]}


async def a_delivery(world: World) -> Given:
    found = await an_endpoint(world)
    await world.ask(world.admin, "PATCH", f"/webhooks/endpoints/{found['endpoint_id']}", json={"enabled": True})
    sent = await world.ask(world.admin, "POST", f"/webhooks/endpoints/{found['endpoint_id']}/test")
    return {**found, "delivery_id": sent.json()["id"]}


async def a_role(world: World) -> Given:
    made = await world.posted(world.admin, "/auth/admin/roles", name=fresh("role"), permissions=["memos:read"])
    return {"name": made["name"], "role": made["name"], "user_id": world.owner.id}


async def a_role_for_somebody(world: World) -> Given:
    return {**(await a_role(world)), **(await somebody(world))}


async def a_grant(world: World) -> Given:
    made = await world.posted(
        world.admin,
        "/auth/admin/grants",
        permission="memos:read",
        resource=f"memo:{fresh('m')}",
        user_id=str(world.owner.id),
    )
    return {"grant_id": made["id"]}


async def an_api_key(world: World) -> Given:
    made = await world.posted(world.owner, "/auth/api-keys", name="planted", expires_in_days=1)
    return {"key_id": made["key"]["id"]}


async def a_session(world: World) -> Given:
    tokens = await world.orion.sign_in(world.owner.email, world.owner.password)
    return {"json": {"refresh_token": tokens.refresh_token}}


async def an_open_session(world: World) -> Given:
    tokens = await world.orion.sign_in(world.owner.email, world.owner.password)
    return {"session_id": session_of(tokens)}


async def a_session_of_somebody(world: World) -> Given:
    person = await world.orion.sign_up()
    return {"user_id": person.id, "session_id": session_of(person)}


async def an_impersonation(world: World) -> Given:
    found = await somebody(world)
    made = await world.posted(world.admin, f"/auth/admin/users/{found['user_id']}/impersonate", reason="a question")
    return {"session_id": made["session_id"]}


def session_of(person: Person) -> str:
    """The id of the session of somebody's access token."""
    return str(jwt.decode(person.access_token, options={"verify_signature": False})["sid"])


async def a_task(world: World) -> Given:
    made = await world.posted(world.admin, "/search/admin/indexes/users/rebuild")
    return {"task_id": made["id"], "index": "users"}


async def a_roll_up(world: World) -> Given:
    made = await world.posted(world.admin, "/analytics/admin/rebuilds", **HOURS)
    return {"rebuild_id": made["id"]}


HOURS = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"}
MERGE = {"content-type": "application/merge-patch+json"}


# The rules

MAY_SIGN_IN = {"anonymous": 401, "revoked": 401, "key": 403, "admin_key": 403}
RULES: Mapping[str, Callable[[int], Mapping[str, int]]] = {
    "open": lambda status: dict.fromkeys(CALLERS, status),
    "mine": lambda status: {**dict.fromkeys(CALLERS, status), **MAY_SIGN_IN},
    "needs": lambda status: {**dict.fromkeys(CALLERS, 403), **MAY_SIGN_IN, "admin": status},
    "owned": lambda status: {**dict.fromkeys(CALLERS, 404), **MAY_SIGN_IN, "owner": status, "admin": status},
}
"""*open*: to everybody alike. *mine*: about what belongs to the caller, whoever that is. *needs*: for those who hold a
permission, which here are administrators. *owned*: about something of the owner, hidden from others (A55)."""


@attrs.frozen
class Row:
    """A rule, the status of those who may, what is sent, and who differs from the rule."""

    rule: Literal["open", "mine", "needs", "owned"]
    status: int = 200
    plant: Plant = nothing
    differs: Mapping[str, int] = attrs.field(factory=dict)

    def expected(self) -> Mapping[str, int]:
        """The status for each caller."""
        return {**RULES[self.rule](self.status), **self.differs}


NOBODY = {"key": 401, "admin_key": 401}
"""On a public route a key without scopes is nobody."""
SOMEBODY_ELSES = dict.fromkeys(("other", "wrong_role", "admin"), 400)
"""With the token of another person beside it a refresh token does not count (A29)."""
UNKNOWN: Given = {"json": {"token": "no-such-token"}}
UNKNOWN_FORM: Given = {"content": b"token=no-such-token", "more": {"content-type": "application/x-www-form-urlencoded"}}
LINK: Given = {"params": {"token": "no-such-token"}}
NOT_EVEN_ADMIN = {"admin": 404}
A_FILE: Given = {"files": {"file": ("a.txt", b"a", "text/plain")}}

ROWS: Mapping[str, Row] = {
    "GET /.well-known/jwks.json": Row("open"),
    # auth
    "POST /api/v1/auth/register": Row(
        "open", 201, sends(json=lambda _: {"email": f"{fresh('p')}@example.org", "password": PASSWORD})
    ),
    "POST /api/v1/auth/login": Row("open", 401, sends(json={"email": "nobody@example.org", "password": "x" * 9})),
    "POST /api/v1/auth/refresh": Row("open", 200, a_session, SOMEBODY_ELSES),
    "POST /api/v1/auth/logout": Row("open", 204, a_session),
    "GET /api/v1/auth/me": Row("mine"),
    "GET /api/v1/auth/sessions": Row("mine"),
    "DELETE /api/v1/auth/sessions": Row("mine", 204),
    "DELETE /api/v1/auth/sessions/{session_id}": Row("owned", 204, an_open_session, NOT_EVEN_ADMIN),
    "POST /api/v1/auth/sessions/revoke-others": Row("mine", 204),
    "POST /api/v1/auth/password/change": Row(
        "mine", 200, sends(json={"current_password": PASSWORD, "new_password": "another horse and battery"})
    ),
    "POST /api/v1/auth/password/forgot": Row("open", 202, sends(json={"email": "nobody@example.org"})),
    "GET /api/v1/auth/password/reset": Row("open", 200, sends(**LINK)),
    "HEAD /api/v1/auth/password/reset": Row("open", 200, sends(**LINK)),
    "POST /api/v1/auth/password/reset": Row(
        "open", 422, sends(json={"token": "no-such-token", "new_password": PASSWORD})
    ),
    "POST /api/v1/auth/password/reset/form": Row(
        "open",
        422,
        sends(content=b"token=no-such-token&new_password=another+horse+and+battery", more=UNKNOWN_FORM["more"]),
    ),
    "GET /api/v1/auth/email/verify": Row("open", 200, sends(**LINK)),
    "HEAD /api/v1/auth/email/verify": Row("open", 200, sends(**LINK)),
    "POST /api/v1/auth/email/verify": Row("open", 422, sends(**UNKNOWN)),
    "POST /api/v1/auth/email/verify/form": Row("open", 422, sends(**UNKNOWN_FORM)),
    "POST /api/v1/auth/email/verify/resend": Row("open", 202, sends(json={"email": "nobody@example.org"})),
    "POST /api/v1/auth/email/change": Row(
        "mine", 202, sends(json=lambda _: {"new_email": f"{fresh('p')}@example.org", "password": PASSWORD})
    ),
    "GET /api/v1/auth/email/change/confirm": Row("open", 200, sends(**LINK)),
    "HEAD /api/v1/auth/email/change/confirm": Row("open", 200, sends(**LINK)),
    "POST /api/v1/auth/email/change/confirm": Row("open", 422, sends(**UNKNOWN)),
    "POST /api/v1/auth/email/change/confirm/form": Row("open", 422, sends(**UNKNOWN_FORM)),
    "GET /api/v1/auth/email/change/revert": Row("open", 200, sends(**LINK)),
    "HEAD /api/v1/auth/email/change/revert": Row("open", 200, sends(**LINK)),
    "POST /api/v1/auth/email/change/revert": Row("open", 422, sends(**UNKNOWN)),
    "POST /api/v1/auth/email/change/revert/form": Row("open", 422, sends(**UNKNOWN_FORM)),
    "GET /api/v1/auth/audit": Row("mine"),
    "GET /api/v1/auth/admin/audit": Row("needs"),
    "GET /api/v1/auth/admin/users/{user_id}/sessions": Row("needs", 200, the_owner),
    "DELETE /api/v1/auth/admin/users/{user_id}/sessions": Row("needs", 204, somebody),
    "DELETE /api/v1/auth/admin/users/{user_id}/sessions/{session_id}": Row("needs", 204, a_session_of_somebody),
    "POST /api/v1/auth/admin/users/{user_id}/impersonate": Row(
        "needs", 201, sends(somebody, json={"reason": "a question"})
    ),
    "DELETE /api/v1/auth/admin/impersonations/{session_id}": Row("needs", 204, an_impersonation),
    "GET /api/v1/auth/mfa": Row("mine"),
    "POST /api/v1/auth/mfa/verify": Row("open", 401, sends(json={"mfa_token": "omf_x", "code": "000000"})),
    "POST /api/v1/auth/mfa/totp/confirm": Row("mine", 404, sends(json={"code": "000000"})),
    "POST /api/v1/auth/mfa/totp": Row("mine", 201),
    "DELETE /api/v1/auth/mfa/totp": Row("mine", 404),
    "POST /api/v1/auth/mfa/recovery-codes": Row("mine", 404),
    "DELETE /api/v1/auth/admin/users/{user_id}/factors": Row("needs", 204, somebody),
    # gateway
    "POST /api/v1/gateway/admin/cache/purge": Row("needs", 204, sends(json={"tags": ["some-tag"]})),
    "GET /api/v1/auth/api-keys": Row("mine"),
    "POST /api/v1/auth/api-keys": Row("mine", 201, sends(json={"name": "x", "expires_in_days": 1})),
    "DELETE /api/v1/auth/api-keys/{key_id}": Row("owned", 204, an_api_key, NOT_EVEN_ADMIN),
    "GET /api/v1/auth/admin/roles": Row("needs"),
    "POST /api/v1/auth/admin/roles": Row(
        "needs", 201, sends(json=lambda _: {"name": fresh("role"), "permissions": []})
    ),
    "GET /api/v1/auth/admin/roles/{name}": Row("needs", 200, a_role),
    "PUT /api/v1/auth/admin/roles/{name}": Row("needs", 200, sends(a_role, json={"permissions": ["memos:write"]})),
    "DELETE /api/v1/auth/admin/roles/{name}": Row("needs", 204, a_role),
    "GET /api/v1/auth/admin/users/{user_id}/roles": Row("needs", 200, the_owner),
    "PUT /api/v1/auth/admin/users/{user_id}/roles/{role}": Row("needs", 204, a_role_for_somebody),
    "DELETE /api/v1/auth/admin/users/{user_id}/roles/{role}": Row("needs", 204, a_role),
    "GET /api/v1/auth/admin/users/{user_id}": Row("needs", 200, the_owner),
    "POST /api/v1/auth/admin/users/{user_id}/disable": Row("needs", 204, somebody),
    "POST /api/v1/auth/admin/users/{user_id}/enable": Row("needs", 204, somebody),
    "GET /api/v1/auth/admin/grants": Row("needs", 200, a_grant),
    "POST /api/v1/auth/admin/grants": Row(
        "needs",
        201,
        sends(the_owner, json=lambda found: {"permission": "a:b", "resource": "c:1", "user_id": str(found["user_id"])}),
    ),
    "DELETE /api/v1/auth/admin/grants/{grant_id}": Row("needs", 204, a_grant),
    # users
    "GET /api/v1/users": Row("mine"),
    "POST /api/v1/users": Row("needs", 201, sends(json=lambda _: {"user_id": str(uuid4()), "name": "Made"})),
    "POST /api/v1/users/find": Row("mine", 200, sends(the_owner, json=lambda found: {"ids": [str(found["user_id"])]})),
    "GET /api/v1/users/me": Row("mine"),
    "PATCH /api/v1/users/me": Row("mine", 200, sends(json={"name": "Changed"}, more=MERGE)),
    "DELETE /api/v1/users/me": Row("mine", 204),
    "GET /api/v1/users/me/access-log": Row("mine"),
    "GET /api/v1/users/me/activity": Row("mine"),
    "PUT /api/v1/users/me/avatar": Row(
        "mine", 200, sends(content=lambda _: picture(), more={"content-type": "image/png"})
    ),
    "DELETE /api/v1/users/me/avatar": Row("mine", 200),
    "GET /api/v1/users/me/preferences": Row("mine"),
    "PATCH /api/v1/users/me/preferences": Row("mine", 200, sends(json={"editor.theme": {"value": "dark"}}, more=MERGE)),
    "GET /api/v1/users/me/preferences/{key}": Row("mine", 200, a_preference),
    "PUT /api/v1/users/me/preferences/{key}": Row("mine", 200, sends(key="editor.theme", json={"value": "dark"})),
    "DELETE /api/v1/users/me/preferences/{key}": Row("mine", 204, a_preference),
    "GET /api/v1/users/{user_id}": Row("owned", 200, the_owner),
    "PATCH /api/v1/users/{user_id}": Row("owned", 200, sends(the_owner, json={"name": "Changed"}, more=MERGE)),
    "DELETE /api/v1/users/{user_id}": Row("owned", 204, somebody, {"owner": 404}),
    "GET /api/v1/users/{user_id}/access-log": Row("owned", 200, the_owner),
    "GET /api/v1/users/{user_id}/activity": Row("owned", 200, the_owner),
    "DELETE /api/v1/users/{user_id}/avatar": Row("owned", 200, an_owner_with_a_picture),
    "GET /api/v1/users/{user_id}/preferences": Row("owned", 200, a_preference),
    "PATCH /api/v1/users/{user_id}/preferences": Row(
        "owned", 200, sends(a_preference, json={"editor.theme": {"value": "light"}}, more=MERGE)
    ),
    "GET /api/v1/users/{user_id}/public": Row("owned", 200, the_owner),
    # notifications
    "GET /api/v1/notifications": Row("mine"),
    # search
    "GET /api/v1/search": Row("mine", 200, sends(params={"index": "users"})),
    "GET /api/v1/search/admin/indexes": Row("needs"),
    "POST /api/v1/search/admin/indexes/{index}/rebuild": Row("needs", 202, sends(index="users")),
    "POST /api/v1/search/admin/indexes/{index}/documents": Row(
        "needs",
        202,
        sends(index="users", content=lambda _: b'{"id": "%s", "version": 1}' % str(uuid4()).encode()),
    ),
    "GET /api/v1/search/admin/tasks": Row("needs"),
    "GET /api/v1/search/admin/tasks/{task_id}": Row("needs", 200, a_task),
    # analytics
    "POST /api/v1/analytics/events": Row(
        "open", 202, sends(json=[{"name": "x.y"}]), {**NOBODY, "anonymous": 401, "revoked": 401}
    ),
    "GET /api/v1/analytics/trends": Row("needs", 200, sends(params={"name": "user.registered"})),
    "GET /api/v1/analytics/top": Row("needs"),
    "GET /api/v1/analytics/metrics/{name}": Row("needs", 200, sends(name="user.registered")),
    "GET /api/v1/analytics/performance": Row("needs"),
    "GET /api/v1/analytics/export": Row("needs"),
    "GET /api/v1/analytics/admin/sources": Row("needs"),
    "POST /api/v1/analytics/admin/rebuilds": Row("needs", 202, sends(json=HOURS)),
    "GET /api/v1/analytics/admin/rebuilds/{rebuild_id}": Row("needs", 200, a_roll_up),
    # storage
    "GET /api/v1/storage/buckets": Row("mine"),
    "POST /api/v1/storage/buckets": Row("mine", 201, sends(json=lambda _: {"name": fresh("bucket")})),
    "GET /api/v1/storage/buckets/{bucket}": Row("owned", 200, a_bucket),
    "PATCH /api/v1/storage/buckets/{bucket}": Row("owned", 200, sends(a_bucket, json={"expire_days": 3}, more=MERGE)),
    "DELETE /api/v1/storage/buckets/{bucket}": Row("owned", 204, a_bucket),
    "GET /api/v1/storage/buckets/{bucket}/grants": Row("owned", 200, a_right),
    "POST /api/v1/storage/buckets/{bucket}/grants": Row(
        "owned", 201, sends(a_bucket, json={"subject": "everybody", "right": "read"})
    ),
    "DELETE /api/v1/storage/buckets/{bucket}/grants/{grant_id}": Row("owned", 204, a_right),
    "GET /api/v1/storage/buckets/{bucket}/objects": Row("owned", 200, an_object),
    "POST /api/v1/storage/buckets/{bucket}/objects": Row("owned", 201, sends(a_bucket, **A_FILE)),
    "POST /api/v1/storage/buckets/{bucket}/deletions": Row(
        "owned", 200, sends(an_object, json={"keys": ["secret.txt"]})
    ),
    "GET /api/v1/storage/buckets/{bucket}/objects/{key}": Row("owned", 200, an_object, NOBODY),
    "HEAD /api/v1/storage/buckets/{bucket}/objects/{key}": Row("owned", 200, an_object, NOBODY),
    "PUT /api/v1/storage/buckets/{bucket}/objects/{key}": Row(
        "owned", 200, sends(an_object, content=lambda _: b"other"), NOBODY
    ),
    "DELETE /api/v1/storage/buckets/{bucket}/objects/{key}": Row("owned", 204, an_object),
    "POST /api/v1/storage/copies": Row(
        "owned",
        201,
        sends(
            an_object,
            json=lambda found: {
                "source_bucket": found["bucket"],
                "source_key": "secret.txt",
                "bucket": found["bucket"],
                "key": "copy.txt",
            },
        ),
    ),
    "POST /api/v1/storage/moves": Row(
        "owned",
        201,
        sends(
            an_object,
            json=lambda found: {
                "source_bucket": found["bucket"],
                "source_key": "secret.txt",
                "bucket": found["bucket"],
                "key": "moved.txt",
            },
        ),
    ),
    "POST /api/v1/storage/signed-urls": Row(
        "owned",
        201,
        sends(an_object, json=lambda found: {"method": "GET", "bucket": found["bucket"], "key": "secret.txt"}),
    ),
    "GET /api/v1/storage/pictures/{picture_id}/{size}": Row("open", 200, an_owner_with_a_picture),
    "HEAD /api/v1/storage/pictures/{picture_id}/{size}": Row("open", 200, an_owner_with_a_picture),
    "POST /api/v1/storage/admin/collect": Row("needs"),
    # webhooks
    "GET /api/v1/webhooks/endpoints": Row("needs", 200, an_endpoint),
    "POST /api/v1/webhooks/endpoints": Row(
        "needs", 201, sends(json={"url": "https://hooks.example.org/in", "event_types": ["nothing.happens"]})
    ),
    "GET /api/v1/webhooks/endpoints/{endpoint_id}": Row("needs", 200, an_endpoint),
    "PATCH /api/v1/webhooks/endpoints/{endpoint_id}": Row(
        "needs", 200, sends(an_endpoint, json={"description": "changed"}, more=MERGE)
    ),
    "DELETE /api/v1/webhooks/endpoints/{endpoint_id}": Row("needs", 204, an_endpoint),
    "POST /api/v1/webhooks/endpoints/{endpoint_id}/rotate": Row("needs", 201, an_endpoint),
    "POST /api/v1/webhooks/endpoints/{endpoint_id}/test": Row("needs", 202, an_endpoint),
    "GET /api/v1/webhooks/endpoints/{endpoint_id}/attempts": Row("needs", 200, an_endpoint),
    "GET /api/v1/webhooks/deliveries": Row("needs", 200, a_delivery),
    "GET /api/v1/webhooks/deliveries/{delivery_id}": Row("needs", 200, a_delivery),
    "GET /api/v1/webhooks/deliveries/{delivery_id}/attempts": Row("needs", 200, a_delivery),
    "POST /api/v1/webhooks/deliveries/{delivery_id}/retry": Row("needs", 202, a_delivery),
}
