"""An existing FastAPI application that uses ORION's auth in its own process.

Run it: uvicorn fastapi_app:app     Then: POST /orion/api/v1/auth/register, GET /orders with the access token.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse

from orion_core import Actor, Error, Platform, Settings, acting
from orion_core.contracts.users import Users
from orion_core.web.asgi import PROBLEM, problem_document, problem_headers


def make(settings: Settings | None = None) -> FastAPI:
    """The application."""
    orion = Platform.load("auth", "users", settings=settings)
    app = FastAPI(lifespan=orion.lifespan)
    app.mount("/orion", orion.asgi())

    @app.exception_handler(Error)
    async def problem(request: Request, error: Error) -> JSONResponse:
        document = problem_document(error, request.url.path)
        return JSONResponse(document, error.status, headers=problem_headers(error), media_type=PROBLEM)

    async def person(authorization: Annotated[str, Header()] = "") -> Actor:
        return await orion.actor(authorization)

    @app.get("/orders")
    async def orders(who: Annotated[Actor, Depends(person)]) -> dict[str, str]:
        with acting(who):
            profile = await orion.service(Users).me()
        return {"orders_of": profile.name, "user_id": who.id}

    @app.get("/prices")
    async def prices() -> dict[str, int]:
        return {"tea": 3}

    return app


app = make()
