"""Signatures: bound to everything, one spelling."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from orion_core.contracts.storage import BadSignature, SignatureExpired
from orion_core.keyring import Key
from orion_plugins.storage.signing import Claims, sign, verify

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OLD, NEW = Key("old", b"o" * 32), Key("new", b"n" * 32)
CLAIMS = Claims("PUT", "bucket", "a b/ä", int((NOW + timedelta(minutes=1)).timestamp()), 7, "text/plain", UUID(int=5))


def test_what_was_signed_is_claimed() -> None:
    """T36."""
    assert verify(sign(CLAIMS, [NEW]), "PUT", "bucket", "a b/ä", [NEW], NOW) == CLAIMS


def test_any_changed_character_makes_it_count_no_more() -> None:
    """T36."""
    signature = sign(CLAIMS, [NEW])
    for place, present in enumerate(signature):
        for other in {*string.ascii_letters, *string.digits, "-", "_", ".", "=", "+", "/", " "} - {present}:
            changed = signature[:place] + other + signature[place + 1 :]
            with pytest.raises(BadSignature):
                verify(changed, "PUT", "bucket", "a b/ä", [NEW], NOW)
    for changed in (signature + "=", signature + "A", signature[:-1], "." + signature, signature.upper(), "", "."):
        with pytest.raises(BadSignature):
            verify(changed, "PUT", "bucket", "a b/ä", [NEW], NOW)


@pytest.mark.parametrize(
    ("method", "bucket", "key"),
    [("GET", "bucket", "a b/ä"), ("HEAD", "bucket", "a b/ä"), ("PUT", "buckets", "a b/ä"), ("PUT", "bucket", "a b/a")],
)
def test_it_is_for_one_method_bucket_and_key(method: str, bucket: str, key: str) -> None:
    """T36."""
    with pytest.raises(BadSignature):
        verify(sign(CLAIMS, [NEW]), method, bucket, key, [NEW], NOW)


def test_parts_cannot_be_shifted_between_claims() -> None:
    """T36: no other claims give the same signed text."""
    one = sign(Claims("GET", "b", "c/d", 1), [NEW])
    other = sign(Claims("GET", "b/c", "d", 1), [NEW])
    assert one.partition(".")[2] != other.partition(".")[2]


def test_it_ends() -> None:
    """T36: checked with a set clock."""
    signature = sign(CLAIMS, [NEW])
    verify(signature, "PUT", "bucket", "a b/ä", [NEW], NOW + timedelta(seconds=59))
    with pytest.raises(SignatureExpired):
        verify(signature, "PUT", "bucket", "a b/ä", [NEW], NOW + timedelta(seconds=60))


def test_the_key_before_still_counts_until_it_is_removed() -> None:
    """T36, T37."""
    signature = sign(CLAIMS, [OLD])
    assert verify(signature, "PUT", "bucket", "a b/ä", [NEW, OLD], NOW) == CLAIMS
    with pytest.raises(BadSignature):
        verify(signature, "PUT", "bucket", "a b/ä", [NEW], NOW)


def test_get_covers_head() -> None:
    """T33."""
    claims = Claims("GET", "bucket", "a", CLAIMS.expires)
    assert verify(sign(claims, [NEW]), "HEAD", "bucket", "a", [NEW], NOW) == claims
