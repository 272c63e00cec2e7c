"""`/api/v1/users`: people read and change themselves, administrators others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import attrs
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import Body, FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT

from orion_core.context import current
from orion_core.contracts.users import (
    MOST_FOUND,
    NewProfile,
    People,
    PeopleQuery,
    Profile,
    ProfileChange,
    ProfilePage,
    PublicProfile,
    Users,
)
from orion_core.errors import PreconditionFailed, UnsupportedMedia
from orion_core.validators import max_len, schema_of
from orion_core.values import value
from orion_core.web import Cursor, Limit, api_keys, needs, signed_in
from orion_plugins.users.etags import etag, matches
from orion_plugins.users.patches import fields, read_patch

MERGE_PATCH = ("application/json", "application/merge-patch+json")
"""The media types of a merge patch."""
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="the ETag of what was read; absent: change it anyway"),
]
EmailBeginning = Annotated[str, QueryParameter(name="email", description="how the address begins, in any letter case")]
NameBeginning = Annotated[str, QueryParameter(name="name", description="how the name begins, in any letter case")]


@dataclass
class PatchOperation(Operation):
    """Describes the body, which the handler reads by itself: a merge patch is no class with optional fields."""

    def __post_init__(self) -> None:
        schema = Schema(
            type=OpenAPIType.OBJECT,
            description="JSON Merge Patch (RFC 7396): null clears a field, an absent one stays as it is.",
            properties={
                name: Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], **_keywords(schema_of(field)))
                for name, field in fields(ProfileChange).items()
            },
            additional_properties=False,
            examples=[{"name": "Ada Lovelace", "bio": None}],
        )
        content = {media_type: OpenAPIMediaType(schema=schema) for media_type in MERGE_PATCH}
        self.request_body = RequestBody(content=content, required=True)


@value
class Wanted:
    """The ids of the people to find."""

    ids: tuple[UUID, ...] = attrs.field(validator=max_len(MOST_FOUND))


class UserRoutes(Controller):
    """People."""

    path = "/api/v1/users"
    tags = ("users",)

    @get("/me", opt=signed_in(), operation_id="users_me", summary="Read your own profile")
    async def me(self, users: NamedDependency[Users]) -> Response[Profile]:
        """Answers 404 `users.profile_pending` with Retry-After as long as a new profile is on its way.

        The ETag changes exactly when the profile does.
        """
        return answer(await users.me())

    @patch(
        "/me",
        opt=signed_in(),
        operation_id="users_change_me",
        summary="Change your own profile",
        operation_class=PatchOperation,
    )
    async def change_me(
        self, request: Request[Any, Any, Any], users: NamedDependency[Users], if_match: IfMatch = None
    ) -> Response[Profile]:
        """A JSON Merge Patch (RFC 7396) of name, first_name, last_name, bio, locale and time_zone.

        An unknown or read-only field answers 422 and names each one. With If-Match the change is made only if the
        profile is still the one with that ETag, else the answer is 412; without it only the named fields are written.
        """
        change = read_patch(await merge_patch(request))
        expected = None if if_match is None else _expected(await users.me(), if_match)
        return answer(await users.change_me(change, expected))

    @delete(
        "/me",
        opt=signed_in() | api_keys(False),
        operation_id="users_erase_me",
        summary="Erase yourself",
        status_code=HTTP_204_NO_CONTENT,
    )
    async def erase_me(self, users: NamedDependency[Users]) -> None:
        """Removes what is known of you here at once and in every other service within seconds; your account is closed.

        There is no way back. A registration with the same address makes a new person.
        """
        await users.erase(current().actor.user_id)

    @get("/", opt=signed_in(), operation_id="users_search", summary="List people")
    async def search(
        self,
        users: NamedDependency[Users],
        cursor: Cursor = "",
        limit: Limit = 50,
        email: EmailBeginning = "",
        name: NameBeginning = "",
    ) -> ProfilePage:
        """Oldest first. With the permission `users:read` everybody, else only yourself.

        `next_cursor` is null on the last page; a cursor from elsewhere answers 400.
        """
        return await users.search(PeopleQuery(cursor, limit, email, name))

    @post(
        "/",
        opt=needs("users:create"),
        operation_id="users_create",
        summary="Make a profile by hand",
        status_code=HTTP_201_CREATED,
    )
    async def create(
        self,
        users: NamedDependency[Users],
        data: Annotated[
            JSONBody[NewProfile],
            Body(examples=[Example(value={"user_id": "01936f7e-8c00-7000-8000-000000000000", "name": "Ada Lovelace"})]),
        ],
    ) -> Response[Profile]:
        """For an account whose profile is missing; 409 `users.profile_exists` if there is one."""
        made = answer(await users.create(data))
        made.status_code = HTTP_201_CREATED
        made.headers["Location"] = f"/api/v1/users/{data.user_id}"
        return made

    @post(
        "/find",
        opt=signed_in(),
        operation_id="users_find",
        summary="Read up to 500 people by their ids",
        status_code=HTTP_200_OK,
    )
    async def find(self, users: NamedDependency[Users], data: JSONBody[Wanted]) -> People:
        """In the order asked; `missing` names those there are none of, and those you may not see."""
        return await users.find(data.ids)

    @get("/{user_id:uuid}", opt=signed_in(), operation_id="users_get", summary="Read a profile")
    async def read(self, users: NamedDependency[Users], user_id: FromPath[UUID]) -> Response[Profile]:
        """Your own, or with the permission `users:read` anybody's; else it is as if there were none: 404."""
        return answer(await users.get(user_id))

    @get("/{user_id:uuid}/public", opt=signed_in(), operation_id="users_public", summary="Read what is public")
    async def public(self, users: NamedDependency[Users], user_id: FromPath[UUID]) -> PublicProfile:
        """Id, name and avatar of anybody, if the deployment shows people to each other; else 404."""
        return await users.public(user_id)

    @patch(
        "/{user_id:uuid}",
        opt=signed_in(),
        operation_id="users_change",
        summary="Change a profile",
        operation_class=PatchOperation,
    )
    async def change(
        self,
        request: Request[Any, Any, Any],
        users: NamedDependency[Users],
        user_id: FromPath[UUID],
        if_match: IfMatch = None,
    ) -> Response[Profile]:
        """As your own; for others you need the permissions `users:read` and `users:write`."""
        change = read_patch(await merge_patch(request))
        expected = None if if_match is None else _expected(await users.get(user_id), if_match)
        return answer(await users.change(user_id, change, expected))

    @delete(
        "/{user_id:uuid}",
        opt=signed_in() | api_keys(False),
        operation_id="users_erase",
        summary="Erase a person",
        status_code=HTTP_204_NO_CONTENT,
    )
    async def erase(self, users: NamedDependency[Users], user_id: FromPath[UUID]) -> None:
        """As yourself; for others you need the permissions `users:read` and `users:delete`."""
        await users.erase(user_id)


def answer(profile: Profile) -> Response[Profile]:
    """The response with `profile` and its ETag."""
    return Response(profile, headers={"ETag": etag(profile), "Cache-Control": "private, no-cache"})


async def merge_patch(request: Request[Any, Any, Any]) -> bytes:
    """The body of a merge patch; raises `UnsupportedMedia` for another kind of body."""
    if request.content_type[0] not in MERGE_PATCH:
        raise UnsupportedMedia(f"send the change as {' or '.join(MERGE_PATCH)}")
    return await request.body()


def _expected(profile: Profile, if_match: str) -> int:
    if not matches(if_match, etag(profile)):
        raise PreconditionFailed("the profile has changed since it was read: read it again")
    return profile.version


def _keywords(schema: dict[str, Any]) -> dict[str, Any]:
    names = {"minLength": "min_length", "maxLength": "max_length"}
    return {names.get(name, name): setting for name, setting in schema.items()}
