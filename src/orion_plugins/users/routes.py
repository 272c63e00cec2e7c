"""`/api/v1/users`: read people, read and change oneself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, patch
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, HeaderParameter

from orion_core.contracts.users import Profile, ProfileChange, Users
from orion_core.errors import PreconditionFailed, UnsupportedMedia
from orion_core.validators import schema_of
from orion_core.web import signed_in
from orion_plugins.users.etags import etag, matches
from orion_plugins.users.patches import fields, read_patch

_MEDIA_TYPES = ("application/json", "application/merge-patch+json")
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="the ETag of the profile that was read; absent: change it anyway"),
]


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
        content = {media_type: OpenAPIMediaType(schema=schema) for media_type in _MEDIA_TYPES}
        self.request_body = RequestBody(content=content, required=True)


def _keywords(schema: dict[str, Any]) -> dict[str, Any]:
    names = {"minLength": "min_length", "maxLength": "max_length"}
    return {names.get(name, name): setting for name, setting in schema.items()}


class UserRoutes(Controller):
    """People."""

    path = "/api/v1/users"
    tags = ("users",)

    @get("/me", opt=signed_in(), operation_id="users_me", summary="Read your own profile")
    async def me(self, users: NamedDependency[Users]) -> Response[Profile]:
        """Answers 404 `users.profile_pending` with Retry-After as long as a new profile is on its way.

        The ETag changes exactly when the profile does.
        """
        return _answer(await users.me())

    @patch(
        "/me",
        opt=signed_in(),
        operation_id="users_change_me",
        summary="Change your own profile",
        operation_class=PatchOperation,
    )
    async def change_me(
        self,
        request: Request[Any, Any, Any],
        users: NamedDependency[Users],
        if_match: IfMatch = None,
    ) -> Response[Profile]:
        """A JSON Merge Patch (RFC 7396) of name, first_name, last_name, bio, locale and time_zone.

        An unknown or read-only field answers 422 and names each one. With If-Match the change is made only if the
        profile is still the one with that ETag, else the answer is 412; without it only the named fields are written.
        """
        if request.content_type[0] not in _MEDIA_TYPES:
            raise UnsupportedMedia(f"send the change as {' or '.join(_MEDIA_TYPES)}")
        change = read_patch(await request.body())
        expected = None if if_match is None else await _expected(users, if_match)
        return _answer(await users.change_me(change, expected))

    @get("/{user_id:uuid}", opt=signed_in(), operation_id="users_get", summary="Read a profile")
    async def get(self, users: NamedDependency[Users], user_id: FromPath[UUID]) -> Response[Profile]:
        """Your own, or with the permission `users:read` anybody's; else it is as if there were none: 404."""
        return _answer(await users.get(user_id))


async def _expected(users: Users, if_match: str) -> int:
    profile = await users.me()
    if not matches(if_match, profile):
        raise PreconditionFailed("the profile has changed since it was read: read it again")
    return profile.version


def _answer(profile: Profile) -> Response[Profile]:
    return Response(profile, headers={"ETag": etag(profile), "Cache-Control": "private, no-cache"})
