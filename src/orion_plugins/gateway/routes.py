"""`/api/v1/gateway/admin`: what administrators do at the gateway."""

from __future__ import annotations

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_204_NO_CONTENT

from orion_core.errors import FieldError, Invalid
from orion_core.ports.purge import Purge
from orion_core.purge_marks import path_of
from orion_core.values import value
from orion_core.web import needs

PURGE = "gateway:purge"
_MOST = 1000


@value
class PurgeOrder:
    """What caches are to forget: all answers of these addresses, whatever their query, and all that bear one of these
    tags. An address is a whole URL or a path; together they are at most 1000."""

    urls: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.urls) + len(self.tags) <= _MOST:
            detail = f"name 1 to {_MOST} urls and tags, not {len(self.urls) + len(self.tags)}"
            raise Invalid(detail, errors=[FieldError("urls", "length", detail)])
        for at, url in enumerate(self.urls):
            try:
                path_of(url)
            except ValueError as error:
                raise Invalid(str(error), errors=[FieldError(f"urls.{at}", "url", str(error))]) from error
        for at, tag in enumerate(self.tags):
            if not tag.strip():
                detail = "a tag is not empty: write what Cache-Tag says"
                raise Invalid(detail, errors=[FieldError(f"tags.{at}", "empty", detail)])


class CacheRoutes(Controller):
    """The response cache."""

    path = "/api/v1/gateway/admin/cache"
    tags = ("gateway",)

    @post(
        "/purge",
        opt=needs(PURGE),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="gateway_purge",
        summary="Make caches forget",
    )
    async def purge(self, purge: NamedDependency[Purge], data: JSONBody[PurgeOrder]) -> None:
        """What is stored of these addresses, and what bears these tags, is used no more.

        The gateways forget it, and so does the CDN that `ORION_PURGE_URL` names.
        """
        await purge.purge(urls=data.urls, tags=data.tags)
