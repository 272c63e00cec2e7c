"""What is refused before any cryptography."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from orion_core.jws import MAX_BYTES, BadToken, decode, encode, parse, verification_key

HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
PUBLIC = Ed25519PrivateKey.from_private_bytes(b"s" * 32).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
KEY = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1", "x": encode(PUBLIC)}


def token(header: Any, claims: Any = None, signature: bytes = b"s" * 64) -> str:
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims or {"a": 1})]
    return ".".join(encode(part) for part in [*parts, signature])


def without(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def test_a_token_of_the_right_form_is_taken_apart() -> None:
    """A17."""
    found = parse(token(HEADER, {"sub": "x"}), typ="at+jwt")

    assert (found.kid, found.alg, found.claims) == ("k1", "EdDSA", {"sub": "x"})


@pytest.mark.parametrize(
    "header",
    [
        *(
            {**HEADER, "alg": alg}
            for alg in ("none", "None", "NONE", "nOnE", "HS256", "RS256", "ES256", "eddsa", "", None)
        ),
        {**HEADER, "alg": ["EdDSA"]},
        without(HEADER, "alg"),
        *({**HEADER, "typ": typ} for typ in ("JWT", "jwt", "AT+JWT", "rt+jwt", "application/at+jwt", None)),
        without(HEADER, "typ"),
        *({**HEADER, "kid": kid} for kid in ("", None, 1, ["k1"])),
        without(HEADER, "kid"),
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "crit": []},
        {**HEADER, "crit": ["b64"], "b64": False},
        {**HEADER, "b64": True},
        {**HEADER, "zip": "DEF"},
        {**HEADER, "jwk": KEY},
        {**HEADER, "jku": "https://evil.example/jwks.json"},
        {**HEADER, "x5u": "https://evil.example/cert.pem"},
        {**HEADER, "x5c": ["AAAA"]},
        ["EdDSA"],
        "EdDSA",
        None,
        b"",
        b"not json",
        b'{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"k1"}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":"k1","x":{"a":1,"a":2}}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":"k1","x":NaN}',
        b'\xef\xbb\xbf{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}',
        b'{"alg":"EdDSA","typ":"at+jwt","kid":"\xff"}',
        b"[" * 5000,
    ],
)
def test_a_header_that_is_not_exactly_as_agreed_is_refused(header: Any) -> None:
    """A16, A17."""
    with pytest.raises(BadToken):
        parse(token(header), typ="at+jwt")


@pytest.mark.parametrize(
    "claims", [b'{"sub":"a","sub":"b"}', b'{"a":{"b":1,"b":2}}', b"[]", b"null", b'"text"', b"{", b'{"exp":Infinity}']
)
def test_claims_are_one_json_object_with_unique_names(claims: bytes) -> None:
    """A16."""
    with pytest.raises(BadToken):
        parse(token(HEADER, claims), typ="at+jwt")


def test_a_token_has_three_parts_and_a_signature_of_the_right_length() -> None:
    """A17."""
    good = token(HEADER)
    head, body, signature = good.split(".")

    for bad in ("", ".", "..", f"{head}.{body}", f"{head}.{body}.", f"{good}.x", f".{good}", good + "=", f" {good}"):
        with pytest.raises(BadToken):
            parse(bad, typ="at+jwt")
    for length in (0, 32, 63, 65):
        with pytest.raises(BadToken):
            parse(token(HEADER, signature=b"s" * length), typ="at+jwt")
    assert parse(f"{head}.{body}.{signature}", typ="at+jwt")


def test_a_token_has_at_most_8_kilobytes() -> None:
    """A16."""
    rest = len(token(HEADER, {"a": ""}))
    fitting = token(HEADER, {"a": "x" * ((MAX_BYTES - rest) * 3 // 4 - 3)})

    assert MAX_BYTES - 8 <= len(fitting) <= MAX_BYTES
    assert parse(fitting, typ="at+jwt")
    with pytest.raises(BadToken):
        parse(token(HEADER, {"a": "x" * MAX_BYTES}), typ="at+jwt")


@pytest.mark.parametrize("text", ["QQ==", "QQ=", "QR", "Q", "QUI=", "Q+", "Q/", "QQ\n", " QQ", "Q Q", "ＱＱ"])  # noqa: RUF001 - full width on purpose
def test_base64url_has_one_form_only(text: str) -> None:
    """A16."""
    with pytest.raises(BadToken):
        decode(text)


@given(st.binary(max_size=100))
def test_base64url_gives_back_what_was_encoded_and_accepts_no_second_form(given_bytes: bytes) -> None:
    """A16."""
    text = encode(given_bytes)

    assert decode(text) == given_bytes
    assert text == base64.urlsafe_b64encode(given_bytes).decode().rstrip("=")


def test_a_key_is_bound_to_its_algorithm() -> None:
    """A17."""
    for fitting in (KEY, without(KEY, "use"), {**KEY, "key_ops": ["verify"]}, {**KEY, "x5t": "ignored"}):
        assert verification_key(fitting).algorithm_name == "EdDSA"


@pytest.mark.parametrize(
    "key",
    [
        *(without(KEY, name) for name in ("kty", "crv", "alg", "kid", "x")),
        *({**KEY, "alg": alg} for alg in ("none", "HS256", "RS256", "ES256", "EDDSA", None)),
        *({**KEY, "kty": kty} for kty in ("oct", "RSA", "EC", "okp", None)),
        *({**KEY, "crv": crv} for crv in ("X25519", "Ed448", "P-256", "ed25519", None)),
        *({**KEY, "use": use} for use in ("enc", "", "SIG", None)),
        *({**KEY, "key_ops": ops} for ops in ([], ["sign"], ["verify", "verify"], "verify", ["encrypt"], None)),
        *({**KEY, "kid": kid} for kid in ("", None, 1)),
        *({**KEY, "x": x} for x in ("", encode(PUBLIC[:31]), encode(PUBLIC + b"x"), encode(PUBLIC) + "=", None, 1)),
        {**KEY, "d": encode(b"s" * 32)},
        {"kty": "oct", "alg": "HS256", "kid": "k1", "k": encode(b"s" * 32)},
    ],
)
def test_a_key_that_may_not_verify_is_refused(key: Mapping[str, Any]) -> None:
    """A17."""
    with pytest.raises(BadToken):
        verification_key(key)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: f"{encode(raw)}.{encode(raw)}.{encode(raw)}"))
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    """A17."""
    with pytest.raises(BadToken):
        parse(text, typ="at+jwt")
