"""The rules of the response cache, section by section of RFC 9111 and RFC 5861."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from orion_plugins.gateway import cache_policy as policy
from orion_plugins.gateway.cache_key import codings, normal, normal_query, primary_key, variant_key

NOW = 1_800_000_000.0


def fields(*lines: str) -> list[tuple[bytes, bytes]]:
    """Header fields written as ``name: value``."""
    pairs = (line.partition(": ") for line in lines)
    return [(name.lower().encode(), text.encode()) for name, _, text in pairs]


def at(offset: float) -> str:
    """The HTTP date `offset` seconds from now."""
    return formatdate(NOW + offset, usegmt=True)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], {}),
        (["cache-control: max-age=60, public"], {"max-age": "60", "public": ""}),
        (["cache-control: Max-Age = 60", "cache-control: PUBLIC"], {"max-age": "60", "public": ""}),
        (['cache-control: private="a, b", max-age="5"'], {"private": "a, b", "max-age": "5"}),
        (["cache-control: ,, no-store ,"], {"no-store": ""}),
        (["cache-control: max-age=1, max-age=1"], {"max-age": "1"}),
        (["cache-control: max-age=1, max-age=2"], {"max-age": ""}),
        (["pragma: no-cache"], {"no-cache": ""}),
        (["pragma: no-cache", "cache-control: max-age=0"], {"max-age": "0"}),
    ],
)
def test_section_5_2_directives(lines: list[str], found: dict[str, str]) -> None:
    """G70: names in any case, arguments quoted or not, lists over several fields; section 5.4 Pragma."""
    assert policy.directives(fields(*lines)) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], None),
        (["cache-control: public"], None),
        (["cache-control: max-age=60"], 60),
        (["cache-control: max-age=60, s-maxage=5"], 5),
        (["cache-control: s-maxage=0, max-age=60"], 0),
        (["cache-control: max-age=-1"], 0),
        (["cache-control: max-age=1.5"], 0),
        (["cache-control: max-age=1, max-age=2"], 0),
        (["cache-control: max-age=99999999999999999"], 2**31),
        (["expires: " + at(90)], 90),
        (["expires: " + at(90), "date: " + at(30)], 60),
        (["expires: " + at(-5)], 0),
        (["expires: 0"], 0),
        (["expires: tomorrow"], 0),
        (["expires: " + at(90), "expires: " + at(95)], 0),
        (["expires: " + at(90), "cache-control: max-age=7"], 7),
    ],
)
def test_section_4_2_1_lifetime(lines: list[str], found: float | None) -> None:
    """G70: s-maxage beats max-age beats Expires, and what cannot be read is stale."""
    assert policy.lifetime(fields(*lines), NOW) == found


@pytest.mark.parametrize(
    ("lines", "asked", "found"),
    [
        ([], 0, 0),
        (["age: 30"], 0, 30),
        (["age: 30"], -2, 32),
        (["age: nonsense"], 0, 0),
        (["age: 7, 9"], 0, 7),
        (["date: " + at(-40)], 0, 40),
        (["date: " + at(-40), "age: 50"], 0, 50),
        (["date: " + at(40)], 0, 0),
    ],
)
def test_section_4_2_3_age(lines: list[str], asked: float, found: float) -> None:
    """G70: the time since Date, or Age and the time the answer took, whichever is more."""
    assert policy.initial_age(fields(*lines), NOW + asked, NOW) == found


PUBLIC = "cache-control: public, max-age=60"


@pytest.mark.parametrize(
    ("status", "lines", "request_lines", "options", "stored"),
    [
        (200, [PUBLIC], [], {}, True),
        (200, ["cache-control: max-age=60"], [], {}, True),
        (200, [], [], {}, False),
        (200, ["etag: 1"], [], {}, False),
        (200, ["cache-control: max-age=0"], [], {}, False),
        (200, ["cache-control: max-age=0", "etag: 1"], [], {}, True),
        (200, ["cache-control: no-cache, max-age=60"], [], {}, False),
        (200, ["cache-control: no-cache, max-age=60", "etag: 1"], [], {}, True),
        (200, ["cache-control: no-store, public, max-age=60"], [], {}, False),
        (200, [PUBLIC], ["cache-control: no-store"], {}, False),
        (200, ["cache-control: private, max-age=60"], [], {}, False),
        (200, ["cache-control: private, max-age=60"], [], {"private": True, "credentials": True}, True),
        (200, ['cache-control: private="x-a", max-age=60'], [], {}, False),
        (200, [PUBLIC, "set-cookie: a=b"], [], {}, False),
        (200, [PUBLIC, "set-cookie: a=b"], [], {"private": True}, False),
        (200, [PUBLIC, "vary: *"], [], {}, False),
        (200, [PUBLIC, "vary: accept, *"], [], {}, False),
        (200, [PUBLIC, "vary: accept"], [], {}, True),
        (206, [PUBLIC, "content-range: bytes 0-1/2"], [], {}, False),
        (200, [PUBLIC, "content-range: bytes 0-1/2"], [], {}, False),
        (404, [PUBLIC], [], {}, True),
        (301, [PUBLIC], [], {}, True),
        (304, [PUBLIC], [], {}, False),
        (400, [PUBLIC], [], {}, False),
        (401, [PUBLIC], [], {}, False),
        (500, [PUBLIC], [], {}, False),
        (503, [PUBLIC], [], {}, False),
    ],
)
def test_section_3_storing(
    status: int, lines: list[str], request_lines: list[str], options: dict[str, bool], stored: bool
) -> None:
    """G70: what a shared cache may store; Set-Cookie never."""
    asked = policy.directives(fields(*request_lines))
    given = {"credentials": False, "private": False, **options}

    assert policy.storable(status, fields(*lines), asked, now=NOW, **given) is stored


@pytest.mark.parametrize(
    ("rule", "stored"),
    [
        ("max-age=60", False),
        ("public, max-age=60", True),
        ("s-maxage=60", True),
        ("must-revalidate, max-age=60", True),
        ("proxy-revalidate, max-age=60", False),
        ("private, must-revalidate, max-age=60", False),
        ("no-store, public, max-age=60", False),
    ],
)
def test_section_3_5_credentials(rule: str, stored: bool) -> None:
    """G70: a request with Authorization or Cookie is stored for others only if the answer says so."""
    answer = fields(f"cache-control: {rule}")

    assert policy.storable(200, answer, {}, credentials=True, private=False, now=NOW) is stored


@pytest.mark.parametrize(
    ("rule", "age", "asks", "found"),
    [
        ("max-age=60", 0, "", "fresh"),
        ("max-age=60", 59, "", "fresh"),
        ("max-age=60", 60, "", "validate"),
        ("max-age=60, s-maxage=10", 11, "", "validate"),
        ("max-age=60, no-cache", 0, "", "validate"),
        ("max-age=60", 0, "no-cache", "validate"),
        ("max-age=60", 5, "max-age=10", "fresh"),
        ("max-age=60", 11, "max-age=10", "validate"),
        ("max-age=60", 5, "max-age=0", "validate"),
        ("max-age=60", 55, "min-fresh=5", "fresh"),
        ("max-age=60", 56, "min-fresh=5", "validate"),
        ("max-age=60", 90, "max-stale", "fresh"),
        ("max-age=60", 90, "max-stale=30", "fresh"),
        ("max-age=60", 91, "max-stale=30", "validate"),
        ("max-age=60, must-revalidate", 90, "max-stale", "validate"),
        ("max-age=60, proxy-revalidate", 90, "max-stale", "validate"),
        ("s-maxage=60", 90, "max-stale", "validate"),
        ("max-age=60, stale-while-revalidate=30", 89, "", "revalidate"),
        ("max-age=60, stale-while-revalidate=30", 90, "", "validate"),
        ("max-age=60, must-revalidate, stale-while-revalidate=30", 70, "", "validate"),
    ],
)
def test_sections_4_and_5_2_use(rule: str, age: float, asks: str, found: str) -> None:
    """G70: when what is stored is used, and when it is validated first; RFC 5861, section 3."""
    asked = policy.directives(fields(f"cache-control: {asks}"))

    assert policy.verdict(fields(f"cache-control: {rule}"), age, asked, NOW) == found


@pytest.mark.parametrize(
    ("rule", "age", "otherwise", "found"),
    [
        ("max-age=60", 61, 0, False),
        ("max-age=60", 69, 10, True),
        ("max-age=60", 70, 10, False),
        ("max-age=60, stale-if-error=30", 89, 0, True),
        ("max-age=60, stale-if-error=30", 90, 1000, False),
        ("max-age=60, stale-if-error=0", 61, 1000, False),
        ("max-age=60, stale-if-error=30, must-revalidate", 61, 1000, False),
        ("s-maxage=60, stale-if-error=30", 61, 1000, False),
        ("no-cache, max-age=60, stale-if-error=30", 61, 0, False),
    ],
)
def test_rfc_5861_section_4_stale_if_error(rule: str, age: float, otherwise: float, found: bool) -> None:
    """G70: the answer's own word counts, and none of it where section 4.2.4 forbids to use stale answers."""
    assert policy.usable_on_error(fields(f"cache-control: {rule}"), age, otherwise, NOW) is found


@pytest.mark.parametrize(
    ("stored", "condition", "found"),
    [
        (['etag: "a"'], ['if-none-match: "a"'], True),
        (['etag: "a"'], ['if-none-match: W/"a"'], True),
        (['etag: W/"a"'], ['if-none-match: "b", "a"'], True),
        (['etag: "a"'], ['if-none-match: "b"'], False),
        (['etag: "a"'], ["if-none-match: *"], True),
        ([], ['if-none-match: "a"'], False),
        (["last-modified: " + at(0)], ["if-modified-since: " + at(0)], True),
        (["last-modified: " + at(0)], ["if-modified-since: " + at(-1)], False),
        (['etag: "a"', "last-modified: " + at(0)], ['if-none-match: "b"', "if-modified-since: " + at(5)], False),
        (["last-modified: " + at(0)], ["if-modified-since: yesterday"], False),
        ([], ["if-modified-since: " + at(0)], False),
    ],
)
def test_section_4_3_2_conditions_of_clients(stored: list[str], condition: list[str], found: bool) -> None:
    """G70: If-None-Match before If-Modified-Since, compared weakly."""
    assert policy.not_modified(fields(*stored), fields(*condition)) is found


def test_section_4_3_1_conditions_of_our_own() -> None:
    """G70: what is stored is validated by its tag and its date."""
    stored = fields('etag: W/"a"', "last-modified: " + at(0), "content-type: text/plain")

    assert policy.validators(stored) == fields('if-none-match: W/"a"', "if-modified-since: " + at(0))


def test_section_4_3_4_freshening() -> None:
    """G70: a 304 renews what it says and leaves the content's own fields alone."""
    stored = fields('etag: "a"', "cache-control: max-age=1", "content-type: text/plain", "content-length: 3", "x: 1")
    validated = fields('etag: "a"', "cache-control: max-age=60", "content-length: 0", "content-type: a/b", "age: 4")

    assert policy.freshens(stored, validated)
    assert dict(policy.freshened(stored, validated)) == dict(
        fields("x: 1", "content-type: text/plain", "content-length: 3", 'etag: "a"', "cache-control: max-age=60")
    )
    assert not policy.freshens(stored, fields('etag: "b"'))
    assert policy.freshens(stored, [])


def test_section_3_1_fields_that_are_not_stored() -> None:
    """G70: nothing of the connection, and nothing that Connection names."""
    answer = fields("connection: close, x-hop", "x-hop: 1", "keep-alive: 5", "age: 3", "x-request-id: r", "etag: 1")

    assert policy.to_store(answer) == fields("etag: 1")


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], ()),
        (["vary: Accept-Encoding"], ()),
        (["vary: Accept, accept-language", "vary: ACCEPT"], ("accept", "accept-language")),
    ],
)
def test_section_4_1_vary(lines: list[str], names: tuple[str, ...]) -> None:
    """G70."""
    assert policy.vary(fields(*lines)) == names


def test_tags_of_both_customs_are_read() -> None:
    """G70: purge by tag; at most 64 of them."""
    assert policy.tags(fields("cache-tag: a, b", "surrogate-key: b c")) == ("a", "b", "c")
    assert len(policy.tags(fields("surrogate-key: " + " ".join(map(str, range(100)))))) == 64


def scope(target: str = "/a", *lines: str, **more: Any) -> dict[str, Any]:
    path, _, query = target.partition("?")
    headers = fields("host: x.example", *lines)
    base = {"scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    return {**base, "headers": headers, **more}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (scope("/a?b=1&c=2"), scope("/a?c=2&b=1")),
        (scope("/a?b=1"), scope("/a?&b=1&")),
        (scope("/%7ea?x=%c3%a4"), scope("/~a?x=%C3%A4")),
        (scope("/a", "accept-encoding: gzip, br"), scope("/a", "accept-encoding: br;q=0.9 , GZIP")),
        (scope("/a", "host: X.EXAMPLE"), scope("/a")),
    ],
)
def test_requests_that_mean_the_same_share_a_key(one: Any, other: Any) -> None:
    """G70: the normalised query and Accept-Encoding."""
    assert primary_key(one, "GET") == primary_key(other, "GET")


@pytest.mark.parametrize(
    "other",
    [
        scope("/b"),
        scope("/a?b=2"),
        scope("/a?b=1&b=2"),
        scope("/a?b=2&b=1"),
        scope("/a%3Fb=1"),
        scope("/%ff"),
        scope("/%fe"),
        scope("/a", scheme="https"),
        scope("/a", headers=fields("host: evil.example")),
        scope("/a", "accept-encoding: gzip"),
        scope("/a", "accept-encoding: gzip;q=0"),
        scope("/a", "accept-encoding: foo"),
        scope("/a", "accept-encoding: "),
    ],
)
def test_requests_that_differ_never_share_a_key(other: Any) -> None:
    """G70: Host is part of the key, so that nobody is shown what a forged one led to."""
    keys = [primary_key(each, method, person) for each in (scope(), other) for method, person in
            (("GET", ""), ("HEAD", ""), ("GET", "ada"), ("GET", "bob"))]  # fmt: skip

    assert len(set(keys)) == 8


def test_order_counts_within_one_name() -> None:
    """G70: ``a=1&a=2`` is a list."""
    assert normal_query(b"b=2&a=2&a=1&b=1") == b"a=2&a=1&b=2&b=1"
    assert normal(b"%41%2f%2F%zz") == b"A%2F%2F%zz"
    assert codings(fields("accept-encoding: *;q=0, br")) == "-*,br"


def test_variants_differ_by_the_fields_that_vary_names() -> None:
    """G70: RFC 9111, section 4.1; a field that is missing is not one that is empty."""
    names = ("accept", "x-a")
    found = {
        variant_key("k", names, fields(*lines))
        for lines in ([], ["accept: "], ["accept: a"], ["accept: a", "x-a: b"], ["x-a: a"], ["accept: b"])
    }

    assert len(found) == 6
    assert variant_key("k", names, fields("accept: a", "x-b: 1")) == variant_key("k", names, fields("accept:  a "))
