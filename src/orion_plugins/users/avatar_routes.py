"""`/api/v1/users/…/avatar`: pictures of people, which storage keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, put
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from orion_core.context import current
from orion_core.contracts.storage import MAX_PICTURE
from orion_core.contracts.users import Profile, Users
from orion_core.errors import UnsupportedMedia
from orion_core.web import signed_in
from orion_plugins.users.routes import answer

_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


@dataclass
class PutAvatar(Operation):
    """Describes the body, which is the picture itself."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.STRING, description="the bytes of the picture", max_length=MAX_PICTURE)
        content = {media_type: OpenAPIMediaType(schema=schema) for media_type in _MEDIA_TYPES}
        self.request_body = RequestBody(content=content, required=True)


class AvatarRoutes(Controller):
    """Avatars."""

    path = "/api/v1/users"
    tags = ("users",)

    @put(
        "/me/avatar",
        opt=signed_in(),
        operation_id="users_change_my_avatar",
        summary="Give yourself an avatar",
        operation_class=PutAvatar,
        request_max_body_size=MAX_PICTURE,
    )
    async def change_mine(self, request: Request[Any, Any, Any], users: NamedDependency[Users]) -> Response[Profile]:
        """The body is a PNG, JPEG, WebP or GIF of at most 5 MiB, of which the first frame counts; else 413 or 415.

        `avatar_url` of the profile leads to the picture as a square of 256 pixels, and changes with every new one.
        Where storage is away the answer is 503 and the old avatar stays.
        """
        if request.content_type[0] not in _MEDIA_TYPES:
            raise UnsupportedMedia(f"send the picture as {', '.join(_MEDIA_TYPES)}")
        return answer(await users.change_avatar(current().actor.user_id, await request.body()))

    @delete(
        "/me/avatar",
        opt=signed_in(),
        operation_id="users_remove_my_avatar",
        summary="Take your avatar away",
        status_code=HTTP_200_OK,
    )
    async def remove_mine(self, users: NamedDependency[Users]) -> Response[Profile]:
        """Answers the profile without it."""
        return answer(await users.remove_avatar(current().actor.user_id))

    @delete(
        "/{user_id:uuid}/avatar",
        opt=signed_in(),
        operation_id="users_remove_avatar",
        summary="Take somebody's avatar away",
        status_code=HTTP_200_OK,
    )
    async def remove(self, users: NamedDependency[Users], user_id: FromPath[UUID]) -> Response[Profile]:
        """As your own; for others you need the permissions `users:read` and `users:write`."""
        return answer(await users.remove_avatar(user_id))
