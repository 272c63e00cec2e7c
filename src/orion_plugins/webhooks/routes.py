"""`/api/v1/webhooks`: endpoints and what was delivered to them; everything needs `webhooks:manage`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_201_CREATED, HTTP_202_ACCEPTED, HTTP_204_NO_CONTENT

from orion_core.contracts.webhooks import (
    AttemptPage,
    Delivery,
    DeliveryDetail,
    DeliveryPage,
    Endpoint,
    EndpointPage,
    EndpointSecret,
    NewEndpoint,
    Webhooks,
)
from orion_core.errors import UnsupportedMedia
from orion_core.web import Cursor, Limit, needs
from orion_plugins.webhooks.patches import read_patch

MANAGE = "webhooks:manage"
_MEDIA_TYPES = ("application/json", "application/merge-patch+json")
_NEVER_STORED = {"Cache-Control": "no-store"}
OfEndpoint = Annotated[UUID | None, QueryParameter(description="only those of this endpoint")]
OfStatus = Annotated[str, QueryParameter(description="only pending, succeeded, dead or aborted ones")]


@dataclass
class PatchOperation(Operation):
    """Describes the body, which the handler reads by itself: a merge patch is no class with optional fields."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        schema = Schema(
            type=OpenAPIType.OBJECT,
            description="JSON Merge Patch (RFC 7396): an absent field stays as it is.",
            properties={
                "url": text,
                "event_types": Schema(type=OpenAPIType.ARRAY, items=text),
                "description": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL]),
                "enabled": Schema(type=OpenAPIType.BOOLEAN),
            },
            additional_properties=False,
            examples=[{"event_types": ["user.*"], "enabled": True}],
        )
        content = {media_type: OpenAPIMediaType(schema=schema) for media_type in _MEDIA_TYPES}
        self.request_body = RequestBody(content=content, required=True)


@dataclass
class CreateOperation(Operation):
    """Gives the body an example."""

    def __post_init__(self) -> None:
        body = self.request_body
        if isinstance(body, RequestBody):
            for media in body.content.values():
                media.example = {
                    "url": "https://example.org/hooks",
                    "event_types": ["user.*"],
                    "description": "our own warehouse",
                }


class EndpointRoutes(Controller):
    """Addresses that are told what happens."""

    path = "/api/v1/webhooks/endpoints"
    tags = ("webhooks",)
    opt = needs(MANAGE)

    @post(
        "/",
        opt=needs(MANAGE),
        status_code=HTTP_201_CREATED,
        operation_id="webhooks_create_endpoint",
        operation_class=CreateOperation,
        summary="Add an endpoint",
    )
    async def create(
        self, webhooks: NamedDependency[Webhooks], data: JSONBody[NewEndpoint]
    ) -> Response[EndpointSecret]:
        """The answer holds the secret that signs, which is never shown again.

        `event_types` are exact (`user.registered`), prefixes (`user.*`) or `*`; the platform's own `system.*`,
        `jobs.*` and `audit.*` must be named. A URL that may not be called answers 422.
        """
        return Response(await webhooks.create_endpoint(data), headers=_NEVER_STORED)

    @get("/", opt=needs(MANAGE), operation_id="webhooks_endpoints", summary="List endpoints")
    async def mine(self, webhooks: NamedDependency[Webhooks], cursor: Cursor = "", limit: Limit = 50) -> EndpointPage:
        """Newest first; secrets are never shown."""
        return await webhooks.endpoints(cursor, limit)

    @get("/{endpoint_id:uuid}", opt=needs(MANAGE), operation_id="webhooks_endpoint", summary="Read an endpoint")
    async def one(self, webhooks: NamedDependency[Webhooks], endpoint_id: FromPath[UUID]) -> Endpoint:
        """One endpoint; 404 `webhooks.no_such_endpoint` if there is none."""
        return await webhooks.endpoint(endpoint_id)

    @patch(
        "/{endpoint_id:uuid}",
        opt=needs(MANAGE),
        operation_id="webhooks_change_endpoint",
        operation_class=PatchOperation,
        summary="Change an endpoint",
    )
    async def change(
        self,
        request: Request[Any, Any, Any],
        webhooks: NamedDependency[Webhooks],
        endpoint_id: FromPath[UUID],
    ) -> Endpoint:
        """A JSON Merge Patch (RFC 7396) of url, event_types, description and enabled.

        An unknown or read-only field answers 422 and names each one. To disable an endpoint aborts what is pending.
        """
        if request.content_type[0] not in _MEDIA_TYPES:
            raise UnsupportedMedia(f"send the change as {' or '.join(_MEDIA_TYPES)}")
        return await webhooks.change_endpoint(endpoint_id, read_patch(await request.body()))

    @delete(
        "/{endpoint_id:uuid}",
        opt=needs(MANAGE),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="webhooks_delete_endpoint",
        summary="Remove an endpoint",
    )
    async def remove(self, webhooks: NamedDependency[Webhooks], endpoint_id: FromPath[UUID]) -> None:
        """Its secrets are gone at once, what is pending is aborted, and its log stays until it is purged."""
        await webhooks.delete_endpoint(endpoint_id)

    @post(
        "/{endpoint_id:uuid}/rotate",
        opt=needs(MANAGE),
        status_code=HTTP_201_CREATED,
        operation_id="webhooks_rotate_secret",
        summary="Replace the secret",
    )
    async def rotate(
        self, webhooks: NamedDependency[Webhooks], endpoint_id: FromPath[UUID]
    ) -> Response[EndpointSecret]:
        """The answer holds the new secret, which is never shown again; the one before signs as well for 24 hours."""
        return Response(await webhooks.rotate_secret(endpoint_id), headers=_NEVER_STORED)

    @post(
        "/{endpoint_id:uuid}/test",
        opt=needs(MANAGE),
        status_code=HTTP_202_ACCEPTED,
        operation_id="webhooks_send_test",
        summary="Send a test event",
    )
    async def test(self, webhooks: NamedDependency[Webhooks], endpoint_id: FromPath[UUID]) -> Delivery:
        """An event of the type `webhook.test`, signed and logged like any other; 409 for a disabled endpoint."""
        return await webhooks.send_test(endpoint_id)

    @get(
        "/{endpoint_id:uuid}/attempts",
        opt=needs(MANAGE),
        operation_id="webhooks_endpoint_attempts",
        summary="List the attempts for an endpoint",
    )
    async def attempts(
        self,
        webhooks: NamedDependency[Webhooks],
        endpoint_id: FromPath[UUID],
        cursor: Cursor = "",
        limit: Limit = 50,
    ) -> AttemptPage:
        """Newest first, kept for 30 days."""
        return await webhooks.endpoint_attempts(endpoint_id, cursor, limit)


class DeliveryRoutes(Controller):
    """What was, is and will be sent."""

    path = "/api/v1/webhooks/deliveries"
    tags = ("webhooks",)

    @get("/", opt=needs(MANAGE), operation_id="webhooks_deliveries", summary="List deliveries")
    async def all(
        self,
        webhooks: NamedDependency[Webhooks],
        endpoint: OfEndpoint = None,
        status: OfStatus = "",
        cursor: Cursor = "",
        limit: Limit = 50,
    ) -> DeliveryPage:
        """Newest first. An unknown status answers 422."""
        return await webhooks.deliveries(endpoint, status, cursor, limit)

    @get("/{delivery_id:uuid}", opt=needs(MANAGE), operation_id="webhooks_delivery", summary="Read a delivery")
    async def one(self, webhooks: NamedDependency[Webhooks], delivery_id: FromPath[UUID]) -> DeliveryDetail:
        """With its payload, which is null once it was removed."""
        return await webhooks.delivery(delivery_id)

    @get(
        "/{delivery_id:uuid}/attempts",
        opt=needs(MANAGE),
        operation_id="webhooks_attempts",
        summary="List the attempts of a delivery",
    )
    async def attempts(
        self,
        webhooks: NamedDependency[Webhooks],
        delivery_id: FromPath[UUID],
        cursor: Cursor = "",
        limit: Limit = 50,
    ) -> AttemptPage:
        """Newest first, kept for 30 days."""
        return await webhooks.attempts(delivery_id, cursor, limit)

    @post(
        "/{delivery_id:uuid}/retry",
        opt=needs(MANAGE),
        status_code=HTTP_202_ACCEPTED,
        operation_id="webhooks_retry",
        summary="Send a delivery again",
    )
    async def retry(self, webhooks: NamedDependency[Webhooks], delivery_id: FromPath[UUID]) -> Delivery:
        """Whatever its status, with the same `webhook-id`; it takes the place of the next scheduled attempt.

        409 `webhooks.endpoint_is_disabled` if the endpoint is, and `webhooks.payload_removed` after an erasure or
        for a payload that was too large.
        """
        return await webhooks.retry(delivery_id)
