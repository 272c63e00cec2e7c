"""Whatever is wrong with a request is answered as a problem that names the field (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from small_app import MAX_BODY, browser, shop

from orion_core.errors import FieldError, Invalid, TooLarge
from orion_core.web.asgi import closing, problem_document

ORDERS = "/api/v1/shop/orders"
GOOD = {"email": "ada@example.org", "lines": [{"article": "book", "count": 1}]}


async def refused(method: str, path: str, **request: Any) -> tuple[int, dict[str, Any], Any]:
    """Status, document and headers of a refusal."""
    async with browser(shop()) as client:
        answer = await client.request(method, path, **request)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    members = {"type", "title", "status", "detail", "instance", "code", "request_id"}
    assert members <= set(document) <= {*members, "errors", "retry_after"}
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:orion:{document['code']}"
    assert document["instance"] == path.partition("?")[0]
    return answer.status_code, document, answer.headers


async def test_a_good_order_is_taken() -> None:
    async with browser(shop()) as client:
        answer = await client.post(ORDERS, json=GOOD)

    assert answer.status_code == 201
    assert answer.json() == {**GOOD, "note": ""}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"\xff\xfe{}", b'{"email": "\\ud800"}', b"[" * 9_000, b'{"a":' * 1_900, b"{} {}"],
)
async def test_what_is_no_json_is_400(body: bytes) -> None:
    """Deep nesting included: it must not end in a 500."""
    status, document, _ = await refused("POST", ORDERS, content=body)

    assert (status, document["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    ("body", "field", "code", "detail"),
    [
        ([], "", "type", "must be an object"),
        ("text", "", "type", "must be an object"),
        ({}, "email", "missing", "is missing"),
        ({**GOOD, "email": 5}, "email", "type", "must be text"),
        ({**GOOD, "email": "ada"}, "email", "email", "must be an email address like ada@example.org"),
        ({**GOOD, "note": "x" * 21}, "note", "too_long", "must have at most 20 characters"),
        ({**GOOD, "lines": "many"}, "lines", "type", "must be a list"),
        ({**GOOD, "lines": [{"article": "book"}]}, "lines[0].count", "missing", "is missing"),
        ({**GOOD, "lines": [{"article": "book", "count": 1.5}]}, "lines[0].count", "type", "must be a whole number"),
    ],
)
async def test_what_does_not_fit_is_422_and_named(body: Any, field: str, code: str, detail: str) -> None:
    status, document, _ = await refused("POST", ORDERS, json=body)

    assert (status, document["code"]) == (422, "invalid")
    assert document["errors"] == [{"field": field, "code": code, "detail": detail}]


@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=x", 400), ("limit=0", 422), ("limit=201", 422), ("limit=9999999999999999999999", 422)],
)
async def test_a_query_that_cannot_be_read_is_400_and_one_out_of_range_422(query: str, status: int) -> None:
    found, document, _ = await refused("GET", f"/api/v1/shop/pages?{query}")

    assert found == status
    assert [item["field"] for item in document["errors"]] == ["limit"]


async def test_unknown_and_repeated_query_parameters_do_no_harm() -> None:
    async with browser(shop()) as client:
        answer = await client.get("/api/v1/shop/pages?limit=7&unknown=1&word=a&word=b")

    assert answer.status_code == 200
    assert answer.json()["limit"] == 7


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/api/v1/shop/nothing", "/api/v1/shop/orders/no-uuid", "//x", "/a%00b"]
)
async def test_an_unknown_path_is_404(path: str) -> None:
    async with browser(shop()) as client:
        answer = await client.patch(path, json={})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["DELETE", "PUT", "TRACE", "GET", "FETCH"])
async def test_a_wrong_method_is_405_with_allow(method: str) -> None:
    status, document, headers = await refused(method, ORDERS)

    assert (status, document["code"]) == (405, "method_not_allowed")
    assert "POST" in headers["allow"]


async def test_a_body_that_is_too_large_is_413() -> None:
    status, document, _ = await refused("POST", ORDERS, content=b"x" * (MAX_BODY + 1))

    assert (status, document["code"]) == (413, "too_large")


async def test_a_chunked_body_that_is_too_large_is_413() -> None:
    """Without Content-Length only counting helps."""

    async def chunks() -> Any:
        for _ in range(MAX_BODY // 1000 + 2):
            yield b"x" * 1000

    status, document, _ = await refused("POST", ORDERS, content=chunks())

    assert (status, document["code"]) == (413, "too_large")


async def test_a_false_content_length_does_not_help() -> None:
    status, document, _ = await refused("POST", ORDERS, content=b"x" * (MAX_BODY + 1), headers={"content-length": "10"})

    assert (status, document["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("what", "status", "code", "retry_after"),
    [
        ("sold-out", 409, "shop.sold_out", None),
        ("slow-down", 429, "too_many", "2"),
        ("away", 503, "unavailable", "1"),
    ],
)
async def test_an_error_of_a_service_has_its_status_code_and_retry_after(
    what: str, status: int, code: str, retry_after: str | None
) -> None:
    """Retry-After counts whole seconds: rounding down would call the client back too early."""
    found, document, headers = await refused("PUT", f"/api/v1/shop/known/{what}")

    assert (found, document["code"]) == (status, code)
    assert headers.get("retry-after") == retry_after


@pytest.mark.parametrize("host", ["[", "x/docs?", "a b", "", "x:y:z", "shop.test:99999999"])
async def test_no_host_header_makes_a_500(host: str) -> None:
    async with browser(shop()) as client:
        for path in ("/nowhere", "/api/v1/shop/whoami", ORDERS):
            answer = await client.get(path, headers={"host": host})
            assert answer.status_code < 500, (host, path)


def _schemas(document: Any) -> Iterator[Any]:
    if isinstance(document, dict):
        yield document
        for inner in document.values():
            yield from _schemas(inner)
    elif isinstance(document, list):
        for inner in document:
            yield from _schemas(inner)


async def test_the_api_document_is_openapi_31_and_tells_of_problems() -> None:
    async with browser(shop()) as client:
        document = (await client.get("/schema/openapi.json")).json()

    assert document["openapi"].startswith("3.1.")
    assert document["info"] == {"title": "ORION", "version": "1.0"}
    for schema in _schemas(document):
        if "$ref" in schema:
            assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]
    operations = [each for item in document["paths"].values() for each in item.values() if "responses" in each]
    assert len(operations) == 8
    for operation in operations:
        assert {"4XX", "503"} <= set(operation["responses"])
        assert {"400", "500"}.isdisjoint(operation["responses"])
        problem = operation["responses"]["4XX"]["content"]["application/problem+json"]
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
    mine, everything = document["paths"]["/api/v1/shop/mine"]["get"], document["paths"]["/api/v1/shop/all"]["get"]
    assert mine["security"] == everything["security"] == [{"bearer": []}]
    assert "403" not in mine["responses"]
    assert {"401", "403"} <= set(everything["responses"])
    order = document["components"]["schemas"]["Order"]["properties"]
    assert order["email"]["format"] == "email"
    assert order["note"]["maxLength"] == 20


async def test_a_problem_has_no_member_that_its_schema_lacks() -> None:
    _, document, _ = await refused("PUT", "/api/v1/shop/known/slow-down")
    async with browser(shop()) as client:
        schema = (await client.get("/schema/openapi.json")).json()["components"]["schemas"]["Problem"]

    assert set(document) <= set(schema["properties"])


@pytest.mark.parametrize(("version", "headers"), [("1.1", {"connection": "close"}), ("2", {}), ("3", {})])
def test_only_http_1_has_a_header_that_closes_the_connection(version: str, headers: dict[str, str]) -> None:
    assert closing({"http_version": version}, TooLarge("too large")) == headers
    assert closing({"http_version": version}, Invalid("bad")) == {}


def test_half_a_surrogate_pair_that_a_client_sent_can_be_named_in_the_answer() -> None:
    """It has no form in UTF-8, so naming it as it came would end in a 500."""
    error = Invalid("\ud800: is unknown", errors=[FieldError("\ud800", "unknown", "is unknown")])

    document = problem_document(error, "/")

    assert json.dumps(document, ensure_ascii=False).encode()
    assert (document["detail"], document["errors"][0]["field"]) == ("\\ud800: is unknown", "\\ud800")


async def test_the_api_page_loads_nothing_from_elsewhere() -> None:
    async with browser(shop()) as client:
        answer = await client.get("/schema")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "/api/v1/shop/orders" in answer.text
    assert [word for word in ("<script", "<link", "<img", "src=", "@import", "url(", "//") if word in answer.text] == []


async def test_the_api_pages_can_be_switched_off() -> None:
    async with browser(shop(docs=False)) as client:
        answers = [await client.get(path) for path in ("/schema", "/schema/openapi.json")]

    assert [answer.status_code for answer in answers] == [404, 404]
    json.loads(answers[0].text)
