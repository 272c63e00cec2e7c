"""`/api/v1/users/…/preferences`: what people prefer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, put
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, QueryParameter
from litestar.status_codes import HTTP_204_NO_CONTENT

from orion_core.context import current
from orion_core.contracts.users import NoSuchPreference, Preference, PreferenceChange, Users
from orion_core.errors import PreconditionFailed
from orion_core.values import value
from orion_core.web import signed_in
from orion_plugins.users.etags import matches, preference_etag
from orion_plugins.users.preference_bodies import read_one, read_patch
from orion_plugins.users.routes import MERGE_PATCH, IfMatch, merge_patch

Keys = Annotated[
    list[str] | None, QueryParameter(name="key", description="only these keys; repeat it for several, default all")
]
_VALUE: dict[str, Any] = {
    "type": OpenAPIType.OBJECT,
    "required": ["value"],
    "properties": {
        "value": Schema(description="any JSON value"),
        "type": Schema(
            type=OpenAPIType.STRING,
            enum=["string", "integer", "number", "boolean", "timestamp", "json"],
            description="absent: the declared type, else the one the value has in JSON",
        ),
        "version": Schema(type=OpenAPIType.INTEGER, description="the version that was read; 0 for a key not set"),
    },
    "additional_properties": False,
}


@dataclass
class PatchPreferences(Operation):
    """Describes the body, which the handler reads by itself so that numbers stay exact."""

    def __post_init__(self) -> None:
        schema = Schema(
            type=OpenAPIType.OBJECT,
            description="Preferences by key; null takes a key back to its default, an absent one stays as it is.",
            additional_properties=Schema(one_of=[Schema(**_VALUE), Schema(type=OpenAPIType.NULL)]),
            examples=[{"editor.font_size": {"value": 14}, "editor.theme": None}],
        )
        content = {media_type: OpenAPIMediaType(schema=schema) for media_type in MERGE_PATCH}
        self.request_body = RequestBody(content=content, required=True)


@dataclass
class PutPreference(Operation):
    """Describes the body, which the handler reads by itself so that numbers stay exact."""

    def __post_init__(self) -> None:
        schema = Schema(**_VALUE, examples=[{"value": "2026-11-22T08:00:00Z", "type": "timestamp"}])
        self.request_body = RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)


@value
class PreferenceList:
    """Preferences by key."""

    items: tuple[Preference, ...]


class PreferenceRoutes(Controller):
    """Preferences."""

    path = "/api/v1/users"
    tags = ("users",)

    @get("/me/preferences", opt=signed_in(), operation_id="users_my_preferences", summary="Read your own preferences")
    async def mine(self, users: NamedDependency[Users], key: Keys = None) -> PreferenceList:
        """Those you set, and the defaults of declared ones, which are marked."""
        return PreferenceList(await users.preferences(current().actor.user_id, tuple(key or ())))

    @patch(
        "/me/preferences",
        opt=signed_in(),
        operation_id="users_change_my_preferences",
        summary="Change several of your preferences",
        operation_class=PatchPreferences,
    )
    async def change_mine(self, request: Request[Any, Any, Any], users: NamedDependency[Users]) -> PreferenceList:
        """All of them or none, at most 500. 422 names every bad key, 412 every key whose `version` is not the one
        given.

        413 `users.preferences_too_large` for a value above 8 KiB, more than 64 KiB altogether or more than 500 keys.
        """
        changes = read_patch(await merge_patch(request))
        return PreferenceList(await users.change_preferences(current().actor.user_id, changes))

    @get(
        "/me/preferences/{key:str}",
        opt=signed_in(),
        operation_id="users_my_preference",
        summary="Read one of your preferences",
    )
    async def one(self, users: NamedDependency[Users], key: FromPath[str]) -> Response[Preference]:
        """404 `users.no_such_preference` for a key that is neither set nor declared."""
        return _answer(await _read(users, key))

    @put(
        "/me/preferences/{key:str}",
        opt=signed_in(),
        operation_id="users_set_my_preference",
        summary="Set one of your preferences",
        operation_class=PutPreference,
    )
    async def set_one(
        self,
        request: Request[Any, Any, Any],
        users: NamedDependency[Users],
        key: FromPath[str],
        if_match: IfMatch = None,
    ) -> Response[Preference]:
        """With If-Match only if the preference is still the one with that ETag, else 412."""
        change = read_one(key, await merge_patch(request))
        if if_match is not None:
            expected = await _expected(users, key, if_match)
            change = PreferenceChange(key, change.value, change.type, expected_version=expected)
        return _answer((await users.change_preferences(current().actor.user_id, (change,)))[0])

    @delete(
        "/me/preferences/{key:str}",
        opt=signed_in(),
        operation_id="users_remove_my_preference",
        summary="Take one of your preferences back to its default",
        status_code=HTTP_204_NO_CONTENT,
    )
    async def remove_one(self, users: NamedDependency[Users], key: FromPath[str], if_match: IfMatch = None) -> None:
        """With If-Match only if the preference is still the one with that ETag, else 412."""
        expected = None if if_match is None else await _expected(users, key, if_match)
        change = PreferenceChange(key, remove=True, expected_version=expected)
        await users.change_preferences(current().actor.user_id, (change,))

    @get(
        "/{user_id:uuid}/preferences",
        opt=signed_in(),
        operation_id="users_preferences",
        summary="Read somebody's preferences",
    )
    async def of(self, users: NamedDependency[Users], user_id: FromPath[UUID], key: Keys = None) -> PreferenceList:
        """As your own; for others you need the permission `users:read`."""
        return PreferenceList(await users.preferences(user_id, tuple(key or ())))

    @patch(
        "/{user_id:uuid}/preferences",
        opt=signed_in(),
        operation_id="users_change_preferences",
        summary="Change somebody's preferences",
        operation_class=PatchPreferences,
    )
    async def change_of(
        self, request: Request[Any, Any, Any], users: NamedDependency[Users], user_id: FromPath[UUID]
    ) -> PreferenceList:
        """As your own; for others you need the permissions `users:read` and `users:write`."""
        changes = read_patch(await merge_patch(request))
        return PreferenceList(await users.change_preferences(user_id, changes))


async def _read(users: Users, key: str) -> Preference:
    found = await users.preferences(current().actor.user_id, (key,))
    if not found:
        raise NoSuchPreference("this key is neither set nor declared")
    return found[0]


async def _expected(users: Users, key: str, if_match: str) -> int:
    try:
        preference = await _read(users, key)
    except NoSuchPreference as error:
        raise PreconditionFailed("there is no such preference to change") from error
    if not matches(if_match, preference_etag(current().actor.user_id, preference)):
        raise PreconditionFailed("the preference has changed since it was read: read it again")
    return preference.version


def _answer(preference: Preference) -> Response[Preference]:
    tag = preference_etag(current().actor.user_id, preference)
    return Response(preference, headers={"ETag": tag, "Cache-Control": "private, no-cache"})
