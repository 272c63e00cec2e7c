"""Which header fields cross the gateway."""

from __future__ import annotations

import re
from collections.abc import Collection

import pytest

from orion_plugins.gateway.client import Headers, Unsendable
from orion_plugins.gateway.headers import content_length, to_client, to_upstream

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def forwarded(
    headers: Headers, *, tracestate: str = "", credentials: Collection[bytes] = ()
) -> list[tuple[bytes, bytes]]:
    return to_upstream(
        headers,
        client="198.51.100.7",
        scheme="https",
        host=b"api.example.org",
        request_id="r-1",
        traceparent=TRACE,
        tracestate=tracestate,
        credentials=credentials,
    )


def passed(headers: Headers) -> list[bytes]:
    """What of `headers` reaches the upstream, without what the gateway adds."""
    return [name for name, _ in forwarded(headers)[: -len(OURS)]]


OURS = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"traceparent"]


def test_g11_the_gateway_adds_its_own_fields() -> None:
    fields = dict(forwarded([]))
    trace = fields.pop(b"traceparent").decode()
    assert fields == {
        b"x-forwarded-for": b"198.51.100.7",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"api.example.org",
        b"x-request-id": b"r-1",
    }
    assert re.fullmatch(TRACE.replace("b7ad6b7169203331", "[0-9a-f]{16}"), trace)
    assert trace != TRACE


def test_g60_tracestate_goes_on_when_there_is_one() -> None:
    assert dict(forwarded([], tracestate="a=1"))[b"tracestate"] == b"a=1"


def test_ordinary_fields_pass_in_order_with_their_values() -> None:
    """Authorization and Cookie among them where they are asked for: services verify the user's own token (G12)."""
    headers = [
        (b"accept", b"*/*"),
        (b"authorization", b"Bearer t"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"content-type", b"application/json"),
        (b"idempotency-key", b"k"),
        (b"x-orion-session", b"cookie"),
        (b"x_custom", b"1"),
        (b"x-forwarded", b"a name of its own"),
    ]
    assert forwarded(headers, credentials=(b"authorization", b"cookie"))[: -len(OURS)] == headers


@pytest.mark.parametrize("name", [b"authorization", b"cookie"])
def test_g13_credentials_go_only_where_they_are_asked_for(name: bytes) -> None:
    other = b"cookie" if name == b"authorization" else b"authorization"
    headers = [(name, b"secret")]
    assert forwarded(headers, credentials=(name,))[: -len(OURS)] == headers
    assert b"secret" not in dict(forwarded(headers)).values()
    assert b"secret" not in dict(forwarded(headers, credentials=(other,))).values()


@pytest.mark.parametrize(
    "name",
    [
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-anything",
        b"forwarded",
        b"x-real-ip",
        b"x-user-id",
        b"x-orion-user",
        b"x-orion-fallback",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"orion-context",
        b"host",
        b"expect",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"upgrade",
        b"http2-settings",
    ],
)
def test_g11_what_a_client_may_not_say_is_left_out_in_every_spelling(name: bytes) -> None:
    spellings = {name, name.replace(b"-", b"_"), name.replace(b"-", b"_", 1)}
    headers = [(spelling, b"close" if name == b"connection" else b"forged") for spelling in spellings]
    assert passed(headers) == []
    assert not any(value == b"forged" for _, value in forwarded(headers))


def test_g11_an_alias_of_the_one_orion_field_that_passes_is_left_out() -> None:
    assert passed([(b"x_orion_session", b"cookie"), (b"x-orion_session", b"cookie")]) == []


@pytest.mark.parametrize(
    "value", [b"x-secret", b"close, X-Secret", b"x-secret,keep-alive", b" x-secret ", b"close,,x-secret"]
)
def test_g11_what_connection_names_is_left_out(value: bytes) -> None:
    assert passed([(b"connection", value), (b"x-secret", b"1"), (b"accept", b"*/*")]) == [b"accept"]


def test_g11_connection_cannot_remove_what_the_gateway_adds() -> None:
    names = b",".join(OURS)
    fields = forwarded([(b"connection", names), (b"connection", b"X-Forwarded-For, X-Real-IP")])
    assert [name for name, _ in fields] == OURS


def test_answers_lose_hop_by_hop_fields_server_and_what_connection_names() -> None:
    headers = [
        (b"date", b"today"),
        (b"server", b"uvicorn"),
        (b"connection", b"x-hop"),
        (b"x-hop", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"trailer", b"x-sum"),
        (b"upgrade", b"h2c"),
        (b"x-request-id", b"theirs"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"www-authenticate", b"Bearer"),
        (b"content-length", b"3"),
    ]
    kept = [b"set-cookie", b"set-cookie", b"www-authenticate", b"content-length"]
    assert [name for name, _ in to_client(headers, 200)] == kept
    for status in (204, 304):
        assert [name for name, _ in to_client(headers, status)] == kept[:-1]


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"content-length", b"0")], 0),
        ([(b"content-length", b"17")], 17),
        ([(b"transfer-encoding", b"chunked")], None),
    ],
)
def test_the_length_of_a_request_body(headers: Headers, length: int | None) -> None:
    assert content_length(headers) == length


@pytest.mark.parametrize("value", [b"+5", b"-5", b"0x5", b"1_0", b"5,5", b"", b" 5", b"\xd9\xa5", b"9" * 20])
def test_g3_a_length_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(Unsendable):
        content_length([(b"content-length", value)])


def test_g3_doubtful_framing_is_refused() -> None:
    with pytest.raises(Unsendable):
        content_length([(b"content-length", b"5"), (b"content-length", b"5")])
    with pytest.raises(Unsendable):
        content_length([(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
