"""An existing Litestar application that gets accounts, profiles and notices from ORION, in its own process.

Run it: uvicorn litestar_app:app     Then: POST /api/v1/auth/register, GET /orders with the access token.
"""

from litestar import Litestar, get
from litestar.di import NamedDependency

from orion_core import OrionPlugin, Settings, current
from orion_core.contracts.users import Users
from orion_core.web import needs, signed_in


@get("/orders", opt=signed_in())
async def orders(users: NamedDependency[Users]) -> dict[str, str]:
    """The application's own route: whoever asks is known, and the service is called in process."""
    profile = await users.me()
    return {"orders_of": profile.name, "user_id": str(current().actor.user_id)}


@get("/takings", opt=needs("shop:read"))
async def takings() -> dict[str, int]:
    """For people who hold the permission `shop:read`."""
    return {"total": 42}


@get("/prices")
async def prices() -> dict[str, int]:
    """A route that ORION knows nothing about works as before."""
    return {"tea": 3}


def make(settings: Settings | None = None) -> Litestar:
    """The application."""
    orion = OrionPlugin("auth", "users", "notifications", settings=settings)
    return Litestar(route_handlers=[orders, takings, prices], plugins=[orion], logging_config=None)


app = make()
