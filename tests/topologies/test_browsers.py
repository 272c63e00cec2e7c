"""Pages of other origins, and requests with cookies, as the whole pipeline answers them."""

from __future__ import annotations

from typing import Any

import pytest

from orion_plugins.gateway.settings import GatewaySettings

APP = "https://app.example"
AUTH = "/api/v1/auth"
STRICT = GatewaySettings(cors_origins=(APP,), cors_credentials=True, address_limit="5/18000", user_limit="2/7200")

pytestmark = [
    pytest.mark.reaches("local", "wire"),
    pytest.mark.orion(settings={"limits_url": "memory:", "plugins": {"gateway": STRICT}}),
]


async def test_a_page_may_read_whatever_the_answer_is(orion: Any) -> None:
    """G30: answers, refusals of routes, of the token layer and of the limits alike."""
    page = {"origin": APP}
    wrong = {**page, "authorization": "Bearer nonsense"}
    answers = [
        await orion.http.get("/.well-known/jwks.json", headers=page),
        await orion.http.get("/api/v1/nothing", headers=page),
        await orion.http.get(f"{AUTH}/me", headers=page),
        await orion.http.get(f"{AUTH}/me", headers=wrong),
        await orion.http.post(f"{AUTH}/login", headers=page, content=b"{"),
        *[await orion.http.get("/.well-known/jwks.json", headers=page) for _ in range(2)],
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 401, 401, 400, 200, 429]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Origin" in answer.headers["vary"]


async def test_a_page_elsewhere_may_read_nothing_and_the_answer_says_that_it_varies(orion: Any) -> None:
    """G30."""
    for headers in ({"origin": "https://evil.org"}, {"origin": "null"}, {}):
        answer = await orion.http.get("/.well-known/jwks.json", headers=headers)
        assert answer.status_code == 200
        assert [name for name in answer.headers if name.startswith("access-control")] == []
        assert "Origin" in answer.headers["vary"]


async def test_preflights_need_no_token_and_cost_nothing(orion: Any) -> None:
    """G30, G23."""
    ask = {"origin": APP, "access-control-request-method": "PATCH"}
    for _ in range(10):
        answer = await orion.http.options("/api/v1/users/me", headers={**ask, "authorization": "Bearer nonsense"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, APP)
    assert (await orion.http.get("/.well-known/jwks.json")).status_code == 200


async def test_cookies_alone_change_nothing_for_a_page_elsewhere(orion: Any) -> None:
    """G31."""
    cookie = {"cookie": "session=1"}
    body = {"email": "ada@example.org", "password": "correct horse battery staple"}
    statuses = [
        (await orion.http.post(f"{AUTH}/login", json=body, headers={**cookie, **more})).status_code
        for more in ({"origin": "https://evil.org"}, {}, {"origin": APP}, {"x-orion-session": "cookie"})
    ]

    assert statuses == [403, 403, 401, 401]
