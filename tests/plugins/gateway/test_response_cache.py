"""The response cache: what reaches the application behind it, and what clients get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cache_kit import AwayCache, Front, Origin

from orion_core.errors import Unavailable
from orion_plugins.gateway.response_cache import NotStored, response_cache
from orion_plugins.gateway.settings import GatewaySettings

TAG = (("etag", '"1"'),)


async def test_a_fresh_answer_is_given_again_with_its_age() -> None:
    """G70."""
    front = Front(origin := Origin(more=(("content-type", "text/plain"),)))
    first = await front.ask()
    front.pass_(7)
    second = await front.ask()

    assert (first.status, first.body, first.cache, first["age"]) == (200, b"body", "miss", "")
    assert (second.status, second.body, second.cache, second["age"]) == (200, b"body", "hit", "7")
    assert second["content-type"] == "text/plain"
    assert len(origin.asked) == 1


async def test_an_answer_past_its_lifetime_is_asked_for_again() -> None:
    """G70: without a validator there is nothing to validate by."""
    front = Front(origin := Origin())
    await front.ask()
    front.pass_(60)

    assert (await front.ask()).cache == "miss"
    assert len(origin.asked) == 2


async def test_a_stale_answer_is_validated_and_then_fresh_again() -> None:
    """G70: 304 used."""
    front = Front(origin := Origin(more=TAG))
    await front.ask()
    front.pass_(100)
    validated, after = await front.ask(), await front.ask()

    assert (validated.status, validated.body, validated.cache) == (200, b"body", "revalidated")
    assert (after.cache, after["age"]) == ("hit", "0")
    assert [request.headers.get("if-none-match") for request in origin.asked] == [None, '"1"']


async def test_a_changed_answer_replaces_a_stale_one() -> None:
    """G70."""
    front = Front(origin := Origin(more=TAG))
    await front.ask()
    front.pass_(100)
    origin.body, origin.more = b"changed", (("etag", '"2"'),)

    assert (await front.ask()).body == b"changed"
    assert ((await front.ask()).body, (await front.ask()).cache) == (b"changed", "hit")


async def test_a_304_about_something_else_is_not_believed() -> None:
    """G70: RFC 9111, section 4.3.4."""
    front = Front(origin := Origin(more=TAG))
    await front.ask()
    front.pass_(100)
    origin.status, origin.more = 304, (("etag", '"9"'),)
    answer = await front.ask()

    assert len(origin.asked) == 3
    assert (answer.status, "if-none-match" in origin.asked[2].headers) == (304, False)


@pytest.mark.parametrize(("tag", "status"), [('"1"', 304), ('W/"1"', 304), ('"0", "1"', 304), ('"2"', 200)])
async def test_who_has_the_answer_already_gets_304(tag: str, status: int) -> None:
    """G70: 304 made, with the fields that it must have and without a length of content."""
    front = Front(origin := Origin(more=(*TAG, ("content-type", "text/plain"))))
    await front.ask()
    answer = await front.ask(if_none_match=tag)

    assert (answer.status, answer.cache, len(origin.asked)) == (status, "hit", 1)
    if status == 304:
        assert answer.body == b""
        assert {name for name, _ in answer.fields} == {"cache-control", "etag", "age"}


async def test_a_condition_on_a_miss_is_the_applications_to_judge() -> None:
    """G70: a 304 is no answer to store, and nobody waits for it."""
    front = Front(origin := Origin(more=TAG))

    assert (await front.ask(if_none_match='"1"')).status == 304
    assert ((await front.ask()).cache, len(origin.asked)) == ("miss", 2)


async def test_head_is_answered_by_what_a_get_left() -> None:
    """G70."""
    front = Front(origin := Origin())
    await front.ask()
    answer = await front.ask(method="HEAD")

    assert (answer.status, answer.body, answer.cache, answer["content-length"]) == (200, b"", "hit", "4")
    assert len(origin.asked) == 1


async def test_what_a_head_left_answers_no_get() -> None:
    """G70."""
    front = Front(Origin())
    await front.ask(method="HEAD")

    assert (await front.ask(method="HEAD")).cache == "hit"
    assert ((await front.ask()).cache, (await front.ask()).body) == ("miss", b"body")


@pytest.mark.parametrize(
    ("rule", "more", "asks"),
    [
        ("", (), {}),
        ("no-store", (), {}),
        ("private, max-age=60", (), {}),
        ("public, max-age=60", (("set-cookie", "a=b"),), {}),
        ("public, max-age=60", (("vary", "*"),), {}),
        ("max-age=60", (), {"authorization": "Bearer x"}),
        ("max-age=60", (), {"cookie": "a=b"}),
        ("public, max-age=60", (), {"cache_control": "no-store"}),
        ("public, max-age=60", (), {"range": "bytes=0-1"}),
        ("public, max-age=60", (), {"if_match": '"1"'}),
    ],
)
async def test_what_must_not_be_stored_is_asked_for_each_time(rule: str, more: Any, asks: dict[str, str]) -> None:
    """G70: Set-Cookie never, credentials only where the answer says so, nothing private, no parts."""
    front = Front(origin := Origin(rule=rule, more=more))
    for _ in range(2):
        assert (await front.ask(**asks)).body == b"body"

    assert len(origin.asked) == 2
    assert (await front.ask(authorization="", path="/c/other")).cache == "miss"


@pytest.mark.parametrize("rule", ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"])
@pytest.mark.parametrize("asks", [{"authorization": "Bearer x"}, {"cookie": "a=b"}])
async def test_credentials_share_what_says_that_it_may_be_shared(rule: str, asks: dict[str, str]) -> None:
    """G70: RFC 9111, section 3.5."""
    front = Front(origin := Origin(rule=rule))
    await front.ask(**asks)

    assert [(await front.ask(**each)).cache for each in (asks, {})] == ["hit", "hit"]
    assert len(origin.asked) == 1


async def test_credentials_pass_by_what_is_for_the_anonymous() -> None:
    """G70: whoever is known may be answered otherwise, and neither finds nor leaves anything."""
    front = Front(origin := Origin(rule="max-age=60"))
    await front.ask()
    origin.body = b"for ada"

    assert [(await front.ask(authorization="Bearer ada")).body for _ in range(2)] == [b"for ada"] * 2
    assert ((await front.ask()).body, len(origin.asked)) == (b"body", 3)


@pytest.mark.parametrize("more", [("cache-control", "private, max-age=60"), ("set-cookie", "a=b")])
async def test_what_a_validation_makes_private_is_nobody_elses(more: tuple[str, str]) -> None:
    """G70: a 304 may take back that an answer is for everybody."""
    front = Front(origin := Origin(more=TAG))
    await front.ask()
    front.pass_(100)
    origin.rule, origin.more = "" if more[0] == "cache-control" else origin.rule, (*TAG, more)
    mine = await front.ask(authorization="Bearer ada")
    front.pass_(3)
    origin.status, origin.more = 401, ()

    assert (mine.status, mine.body) == (200, b"body")
    assert (await front.ask()).status == 401


async def test_variants_are_told_apart() -> None:
    """G70: Vary."""
    front = Front(origin := Origin(more=(("vary", "accept-language"),)))
    for language in ("de", "en", "de", "en"):
        origin.body = language.encode()
        assert (await front.ask(accept_language=language)).body == language.encode()

    assert len(origin.asked) == 2


async def test_a_second_field_to_vary_by_widens_the_key() -> None:
    """G70: Vary may change from answer to answer."""
    front = Front(origin := Origin(more=(("vary", "a"),)))
    await front.ask(a="1")
    origin.more = (("vary", "b"),)
    await front.ask(a="2", b="1")

    assert (await front.ask(a="2", b="1")).cache == "hit"
    assert (await front.ask(a="2", b="2")).cache == "miss"


async def test_nothing_outside_of_the_prefixes_is_touched() -> None:
    """G70: routes that may be cached are named."""
    front = Front(origin := Origin())
    for path in ("/cc", "/d", "/"):
        assert (await front.ask(path)).cache == ""
        assert (await front.ask(path)).cache == ""

    assert len(origin.asked) == 6
    assert [(await front.ask("/c")).cache for _ in range(2)] == ["miss", "hit"]


def test_without_prefixes_there_is_no_layer() -> None:
    """G70."""
    origin: Any = Origin()

    assert response_cache(origin, None, GatewaySettings(cache_prefixes=())) is origin  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(("status", "forgotten"), [(200, True), (204, True), (303, True), (404, False), (500, False)])
async def test_what_changes_something_makes_the_cache_forget_it(method: str, status: int, forgotten: bool) -> None:
    """G70: RFC 9111, section 4.4; whatever the query, and only if it succeeded."""
    front = Front(origin := Origin())
    await front.ask("/c/a?x=1")
    front.pass_(3)
    origin.status = status
    await front.ask("/c/a", method, body=b"x")
    origin.status = 200
    front.pass_(3)

    assert (await front.ask("/c/a?x=1")).cache == ("miss" if forgotten else "hit")


async def test_locations_of_the_same_host_are_forgotten_too() -> None:
    """G70: RFC 9111, section 4.4."""
    front = Front(origin := Origin())
    for path in ("/c/b", "/c/e", "/c/d"):
        await front.ask(path)
    origin.more = (("location", "http://x.example/c/b"), ("content-location", "/c/%65"))
    await front.ask("/c/a", "POST")
    origin.more = (("location", "http://other.example/c/d"),)
    await front.ask("/c/a", "POST")
    origin.more = ()
    front.pass_(3)

    assert [(await front.ask(path)).cache for path in ("/c/b", "/c/e", "/c/d")] == ["miss", "miss", "hit"]


async def test_a_purge_by_address_or_tag_is_heard_at_once() -> None:
    """G70."""
    front = Front(origin := Origin(more=(("cache-tag", "red, blue"),)))
    for order in ({"paths": ["/c/a"]}, {"tags": ["blue"]}):
        await front.ask("/c/a?x=1")
        assert (await front.ask("/c/a?x=1")).cache == "hit"
        await front.marks.purge(**order)  # type: ignore[arg-type]
        assert (await front.ask("/c/a?x=1")).cache == "miss"
        front.pass_(3)
    await front.ask("/c/a?x=1")
    await front.marks.purge(paths=["/c/b"], tags=["green"])
    before = len(origin.asked)

    assert ((await front.ask("/c/a?x=1")).cache, len(origin.asked)) == ("hit", before)


async def test_an_answer_on_its_way_during_a_purge_is_not_kept() -> None:
    """G70: it may be the old one."""
    front = Front(origin := Origin(gate=asyncio.Event()))
    waiting = asyncio.ensure_future(front.ask())
    await origin.reached.wait()
    await front.marks.purge(paths=["/c/a"])
    assert origin.gate is not None
    origin.gate.set()
    await waiting
    front.pass_(5)

    assert (await front.ask()).cache == "miss"


async def test_of_many_misses_one_asks() -> None:
    """G70: single flight."""
    front = Front(origin := Origin(gate=asyncio.Event()))
    waiting = [asyncio.ensure_future(front.ask()) for _ in range(50)]
    await origin.reached.wait()
    assert origin.gate is not None
    origin.gate.set()
    answers = await asyncio.gather(*waiting)

    assert {(answer.status, answer.body) for answer in answers} == {(200, b"body")}
    assert len(origin.asked) == 1


async def test_when_the_one_fails_the_next_asks() -> None:
    """G70: no request fails because another one did, and they do not all ask at once."""

    class Flaky(Origin):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            self.failing = Unavailable("away") if len(self.asked) < 2 else None
            await super().__call__(scope, receive, send)

    front = Front(origin := Flaky(gate=asyncio.Event()))
    waiting = [asyncio.ensure_future(front.ask()) for _ in range(20)]
    await origin.reached.wait()
    assert origin.gate is not None
    origin.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert len([each for each in answers if isinstance(each, Unavailable)]) == 2
    assert len([each for each in answers if not isinstance(each, BaseException) and each.body == b"body"]) == 18
    assert len(origin.asked) == 3


async def test_nobody_waits_for_what_cannot_be_shared() -> None:
    """G70: the head of the answer is enough to know."""
    front = Front(origin := Origin(rule="private", gate=asyncio.Event()))
    waiting = [asyncio.ensure_future(front.ask()) for _ in range(5)]
    await origin.reached.wait()
    assert origin.gate is not None
    origin.gate.set()
    await asyncio.gather(*waiting)
    origin.gate = asyncio.Event()
    again = [asyncio.ensure_future(front.ask()) for _ in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(origin.asked) == 10, "remembered: the next ones do not wait at all"
    origin.gate.set()
    await asyncio.gather(*again)


async def test_a_slow_filler_holds_nobody_up_for_longer_than_is_set() -> None:
    """G70: bounded."""
    front = Front(origin := Origin(gate=asyncio.Event()), cache_wait=0.01)
    first = asyncio.ensure_future(front.ask())
    await origin.reached.wait()
    second = asyncio.ensure_future(front.ask())
    async with asyncio.timeout(5):
        while len(origin.asked) < 2:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
    assert origin.gate is not None
    origin.gate.set()

    assert {(await first).body, (await second).body} == {b"body"}


@pytest.mark.parametrize("failing", [Unavailable("away"), RuntimeError("broken"), None])
async def test_a_stale_answer_stands_in_for_a_failing_application(failing: BaseException | None) -> None:
    """G70: stale-if-error; also G50's mark of a fallback."""
    front = Front(origin := Origin(rule="max-age=60, stale-if-error=30", more=TAG))
    await front.ask()
    front.pass_(80)
    origin.failing, origin.status = failing, 503
    answer = await front.ask()

    assert (answer.status, answer.body, answer["age"], answer.cache) == (200, b"body", "80", "stale")
    assert answer["x-orion-fallback"] == "stale"


async def test_all_who_wait_for_a_failing_application_get_what_is_stored() -> None:
    """G70: they do not fail one after the other."""
    front = Front(origin := Origin(rule="max-age=60, stale-if-error=30", more=TAG))
    await front.ask()
    front.pass_(80)
    origin.gate, origin.failing = asyncio.Event(), Unavailable("away")
    waiting = [asyncio.ensure_future(front.ask()) for _ in range(10)]
    origin.reached.clear()
    await origin.reached.wait()
    origin.gate.set()
    answers = await asyncio.gather(*waiting)

    assert {(answer.body, answer["x-orion-fallback"]) for answer in answers} == {(b"body", "stale")}
    assert len(origin.asked) == 2


async def test_an_answer_that_came_in_chunks_is_given_with_its_length() -> None:
    """G70."""

    async def chunked(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"whole", "more_body": False})

    front = Front(chunked)

    assert [(await front.ask())["content-length"] for _ in range(2)] == ["", "5"]


async def test_where_stale_answers_are_forbidden_the_failure_is_told() -> None:
    """G70: must-revalidate, and past the time that is allowed."""
    for rule, passed in (("max-age=60, must-revalidate, stale-if-error=30", 61), ("max-age=60, stale-if-error=5", 66)):
        front = Front(origin := Origin(rule=rule, more=TAG))
        await front.ask()
        front.pass_(passed)
        origin.failing = Unavailable("away")
        with pytest.raises(Unavailable):
            await front.ask()


async def test_an_operator_may_allow_stale_answers_for_all_that_say_nothing() -> None:
    """G70: the setting `cache_stale_if_error`."""
    front = Front(origin := Origin(rule="max-age=60"), cache_stale_if_error=100)
    await front.ask()
    front.pass_(150)
    origin.status = 500

    assert ((await front.ask()).status, (await front.ask()).cache) == (200, "stale")


async def test_stale_while_revalidate_answers_at_once_and_asks_meanwhile() -> None:
    """G70: RFC 5861, section 3; one validation however many ask."""
    front = Front(origin := Origin(rule="max-age=60, stale-while-revalidate=30", more=TAG))
    await front.ask()
    front.pass_(70)
    origin.gate = asyncio.Event()
    answers = [await front.ask() for _ in range(3)]
    assert [answer.cache for answer in answers] == ["stale"] * 3
    origin.gate.set()
    async with asyncio.timeout(5):
        while (await front.ask()).cache != "hit":  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)

    assert [request.actor for request in origin.asked] == ["anonymous"] * 2, "nothing acts as the system"
    await front.stop()


async def test_while_the_cache_is_away_requests_pass_by_it() -> None:
    """G70: no error, and it is not asked again by every request."""
    front = Front(origin := Origin())
    cache = front.cache
    assert isinstance(cache, AwayCache)
    await front.ask()
    cache.away = True
    answers = [await front.ask() for _ in range(5)]

    assert {(answer.status, answer.cache) for answer in answers} == {(200, "bypass")}
    assert (len(origin.asked), cache.refused) == (6, 1)


async def test_a_change_while_the_cache_is_away_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """G70: what was stored before is not trusted by this gateway when the cache is back."""
    monkeypatch.setattr("orion_plugins.gateway.cache_store.REST", 0.0)
    front = Front(Origin())
    cache = front.cache
    assert isinstance(cache, AwayCache)
    await front.ask()
    cache.away = True
    await front.ask(method="PUT", body=b"x")
    cache.away = False
    front.pass_(1)

    assert [(await front.ask()).cache for _ in range(2)] == ["miss", "hit"]


async def test_entries_are_bounded_one_by_one_and_in_all() -> None:
    """G70."""
    front = Front(origin := Origin(body=b"x" * 1000), cache_max_entry=2000, cache_max_bytes=5000)
    for at in range(10):
        await front.ask(f"/c/{at}")
    assert [(await front.ask(f"/c/{at}")).cache for at in (9, 8, 0)] == ["hit", "hit", "miss"]
    origin.body = b"x" * 2001
    for rule in ("public, max-age=60", "public, max-age=61"):
        origin.rule = rule
        assert [(await front.ask("/c/large")).cache for _ in range(2)] == ["miss", "miss"]


async def test_an_answer_that_was_cut_is_not_kept() -> None:
    """G70, G2."""

    class Cut(Origin):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def cutting(message: Any) -> None:
                if not self.asked[1:] and message.get("body") == b"dy":
                    raise ConnectionError("cut")
                await send(message)

            await super().__call__(scope, receive, cutting)

    front = Front(Cut())
    with pytest.raises(ConnectionError):
        await front.ask()

    assert ((await front.ask()).body, (await front.ask()).cache) == (b"body", "hit")


async def test_an_answer_shorter_than_it_said_is_not_kept() -> None:
    """G70."""

    async def short(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"cache-control", b"public, max-age=60"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"short", "more_body": False})

    front = Front(short)

    assert [(await front.ask()).cache for _ in range(2)] == ["miss", "miss"]


async def test_only_if_cached_never_asks() -> None:
    """G70: RFC 9111, section 5.2.1.7."""
    front = Front(origin := Origin())
    with pytest.raises(NotStored) as refused:
        await front.ask(cache_control="only-if-cached")
    await front.ask()

    assert (refused.value.status, (await front.ask(cache_control="only-if-cached")).cache) == (504, "hit")
    assert len(origin.asked) == 1


async def test_private_answers_are_kept_for_each_person_only_where_that_is_set() -> None:
    """G70: a private key per user is opt-in, and needs a layer that has verified who asks."""
    rule = "private, max-age=60"
    front = Front(origin := Origin(rule=rule), cache_private=True)
    for user in ("ada", "bob", "ada", "bob"):
        origin.body = user.encode()
        answer = await front.ask(authorization=f"Bearer {user}", user=user)
        assert answer.body == user.encode()
    assert len(origin.asked) == 2
    origin.body = b"unknown"
    assert (await front.ask(authorization="Bearer ada")).body == b"unknown"
    assert (await front.ask()).body == b"unknown"

    plain = Front(origin := Origin(rule=rule))
    assert [(await plain.ask(authorization="Bearer ada", user="ada")).cache for _ in range(2)] == ["miss", "miss"]


async def test_a_path_that_looks_like_a_file_changes_nothing() -> None:
    """G71: what is cached is decided by the answer and by nothing of the path's spelling."""
    front = Front(origin := Origin(rule="private, no-cache"))
    for path in ("/c/me/x.css", "/c/me.css", "/c/me;x.css", "/c/me/x.js?x.css"):
        for _ in range(2):
            assert (await front.ask(path, authorization="Bearer ada")).cache == "miss"
        assert (await front.ask(path)).cache == "miss"

    assert len(origin.asked) == 12
