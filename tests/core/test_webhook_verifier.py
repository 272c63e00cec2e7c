"""What receivers check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orion_core.webhook_verifier import NotVerified, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = 1614265330
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(AT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_the_published_example_verifies() -> None:
    """W1, W3a."""
    assert verify([SECRET], HEADERS, BODY, now=AT) == HEADERS["webhook-id"]
    assert verify([SECRET], {name.title(): text for name, text in HEADERS.items()}, BODY, now=AT)


def test_one_of_several_secrets_and_signatures_is_enough() -> None:
    """W2a, W3a: entries that cannot be read are skipped."""
    several = {
        **HEADERS,
        "webhook-signature": "v1a,xx v1 v1, v1,!!! ,,, v1,\u00e9 v1,AAAA " + HEADERS["webhook-signature"],
    }

    assert verify(["whsec_" + "A" * 32, SECRET], several, BODY, now=AT)


@pytest.mark.parametrize("seconds", [-301, 301, 10_000])
def test_a_clock_that_is_too_far_off_is_refused(seconds: int) -> None:
    """W3a."""
    verify([SECRET], HEADERS, BODY, now=AT + (300 if seconds > 0 else -300))
    with pytest.raises(NotVerified, match="too old or too new"):
        verify([SECRET], HEADERS, BODY, now=AT + seconds)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(AT + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": f"+{AT}"},
        {"webhook-timestamp": "\u0661\u0662"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v2,")},
    ],
)
def test_changed_headers_are_refused(changed: dict[str, str]) -> None:
    """W3a."""
    with pytest.raises(NotVerified):
        verify([SECRET], {**HEADERS, **changed}, BODY, now=AT)


@given(body=st.binary(max_size=50), signature=st.text(max_size=80))
def test_nothing_that_arrives_makes_it_fail_otherwise(body: bytes, signature: str) -> None:
    """W3a."""
    with pytest.raises(NotVerified):
        verify([SECRET], {**HEADERS, "webhook-signature": signature}, b"x" + body, now=AT)


def test_no_secret_verifies_nothing_and_a_bad_one_is_the_callers_mistake() -> None:
    """W3a."""
    with pytest.raises(NotVerified):
        verify([], HEADERS, BODY, now=AT)
    for secret in ("", "whsec_", "whsec_!!"):
        with pytest.raises(ValueError, match="whsec_"):
            verify([secret], HEADERS, BODY, now=AT)
