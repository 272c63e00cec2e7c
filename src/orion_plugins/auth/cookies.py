"""Cookie mode: a browser keeps the refresh token in a cookie that no script can read (RFC 6265bis).

A client chooses it with the header ``X-Orion-Session: cookie``. The cookie counts together with that header only: a
page of another site may not set the header unless CORS allows it, nor make a browser send the cookie.
"""

from __future__ import annotations

from typing import Annotated, Any

import attrs
from litestar import Response
from litestar.datastructures import Cookie
from litestar.params import CookieParameter, HeaderParameter

from orion_core.contracts.auth import Account, Tokens
from orion_core.contracts.auth_sessions import Client
from orion_core.values import invalid, value

HEADER = "X-Orion-Session"
COOKIE = "__Host-orion_session"
_COOKIE_MODE = "cookie"
# The longest that browsers keep one (RFC 6265bis, 5.5): when the session ends is the server's to say.
_MAX_AGE = 400 * 24 * 3600

Mode = Annotated[
    str, HeaderParameter(name=HEADER, description="`cookie` keeps the refresh token in a cookie; empty for the body")
]
"""The header that chooses cookie mode; its default in the handler is the empty text."""

KeptToken = Annotated[str, CookieParameter(name=COOKIE, description="the refresh token; read in cookie mode only")]
"""The cookie with the refresh token; its default in the handler is the empty text."""


@value
class CookieTokens:
    """What signing in answers in cookie mode: the refresh token is in the cookie. `expires_in` is in seconds."""

    user: Account
    access_token: str = attrs.field(repr=False)
    token_type: str = "Bearer"
    expires_in: int = 3600


def client_of(mode: str) -> Client:
    """What the header asks for; raises `Invalid` for a mode that does not exist."""
    if mode not in ("", _COOKIE_MODE):
        raise invalid(HEADER, "unknown", f"must be {_COOKIE_MODE}, or left out for a refresh token in the body")
    return "cookie" if mode else "token"


def answer(tokens: Tokens, client: Client, status_code: int) -> Response[Any]:
    """`tokens` as the answer to `client`."""
    if client == "token":
        return Response(tokens, status_code=status_code)
    body = CookieTokens(tokens.user, tokens.access_token, tokens.token_type, tokens.expires_in)
    return Response(body, status_code=status_code, cookies=[_cookie(tokens.refresh_token, _MAX_AGE)])


def forget() -> Cookie:
    """The cookie that removes the token from the browser."""
    return _cookie("", 0)


def _cookie(token: str, max_age: int) -> Cookie:
    return Cookie(COOKIE, value=token, path="/", max_age=max_age, secure=True, httponly=True, samesite="strict")
