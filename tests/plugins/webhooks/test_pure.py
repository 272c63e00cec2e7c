"""Signatures, addresses, URLs, patterns and schedule: pure functions."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orion_core.errors import Invalid
from orion_core.webhook_verifier import verify
from orion_plugins.webhooks import patterns, signing
from orion_plugins.webhooks.addresses import is_allowed, networks, refusal
from orion_plugins.webhooks.outcomes import LONGEST, Outcome, Verdict, judge, wanted_pause
from orion_plugins.webhooks.sender import EXCERPT, READ_LIMIT
from orion_plugins.webhooks.settings import TABLE, WebhooksSettings
from orion_plugins.webhooks.targets import lenient, target

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
LOOPBACK = networks(["127.0.0.0/8"])

# Signatures


def test_the_published_vector_is_signed_as_published() -> None:
    """W1."""
    made = signing.headers(
        [SECRET],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )

    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - zones come below
    st.integers(-14 * 60, 14 * 60),
)
def test_one_instant_signs_the_same_in_every_zone(at: datetime, minutes: int) -> None:
    """W3."""
    instant = at.replace(tzinfo=UTC)
    elsewhere = instant.astimezone(timezone(timedelta(minutes=minutes)))

    assert signing.headers([SECRET], "msg_1", instant, b"x") == signing.headers([SECRET], "msg_1", elsewhere, b"x")


def test_a_time_without_zone_is_refused() -> None:
    """W3."""
    with pytest.raises(ValueError, match="zone"):
        signing.seconds(NOW.replace(tzinfo=None))


@given(st.binary(max_size=200))
def test_what_is_signed_verifies(body: bytes) -> None:
    """W2, W3a."""
    secrets = [signing.new_secret(), signing.new_secret()]
    made = signing.headers(secrets, "msg_1", NOW, body)

    for secret in secrets:
        assert verify([secret], made, body, now=NOW.timestamp()) == "msg_1"


def test_secrets_are_random_and_of_the_right_form() -> None:
    """W2a."""
    made = {signing.new_secret() for _ in range(50)}

    assert len(made) == 50
    assert {len(signing.key_of(secret)) for secret in made} == {32}
    for other in (
        "",
        "whsec_",
        "whsec_AAAA",
        SECRET.removeprefix("whsec_"),
        "whsec_!" + SECRET[7:],
        "whsec_" + "A" * 88,
    ):
        with pytest.raises(ValueError, match="whsec_"):
            signing.key_of(other)


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:100.64.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "1::1",
        "::fffe:7f00:1",
        "::ffff:0:7f00:1",
        "64:ff9b:2::1",
        "64:ff9b::1:808:808",
        "4000::1",
        "fe00::1",
        "2606:4700::1%eth0",
        "",
        "localhost",
        "0x7f000001",
        "2130706433",
        "127.1",
    ],
)
def test_what_is_not_global_unicast_is_refused(address: str) -> None:
    """W4, W4c."""
    assert refusal(address) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_global_addresses_are_called(address: str) -> None:
    """W4."""
    assert refusal(address) is None


def test_allowed_networks_open_what_they_hold_and_nothing_else() -> None:
    """W4b."""
    allowed = networks(["127.0.0.0/8", "fd00::/16"])

    assert [refusal(address, allowed) for address in ("127.0.0.1", "::ffff:127.0.0.1", "fd00::1")] == [None] * 3
    assert refusal("10.0.0.1", allowed)
    assert refusal("::1", allowed)
    assert not is_allowed("8.8.8.8", allowed)
    assert not is_allowed("nothing", allowed)


@given(st.ip_addresses())
def test_every_address_gets_an_answer_and_none_is_let_through_that_python_calls_private(address: object) -> None:
    """W4."""
    reason = refusal(str(address))

    if getattr(address, "is_private", False) and not str(address).startswith("::ffff:"):
        assert reason is not None


# URLs


@pytest.mark.parametrize(
    ("url", "authority", "host", "port", "path"),
    [
        ("https://example.org", "example.org", "example.org", 443, "/"),
        ("https://Example.ORG:8443/a?b=c", "example.org:8443", "example.org", 8443, "/a?b=c"),
        ("https://example.org:443/", "example.org", "example.org", 443, "/"),
        ("https://bücher.example/ö", "xn--bcher-kva.example", "xn--bcher-kva.example", 443, "/%C3%B6"),
        ("https://[2606:4700::1111]/", "[2606:4700::1111]", "2606:4700::1111", 443, "/"),
        ("https://8.8.8.8/x", "8.8.8.8", "8.8.8.8", 443, "/x"),
    ],
)
def test_a_url_is_taken_apart(url: str, authority: str, host: str, port: int, path: str) -> None:
    """W4a: the original name stays in Host."""
    found = target(url, (443, 8443), ())

    assert (found.authority, found.host, found.port, found.path) == (authority, host, port, path)
    assert not lenient(found, (443, 8443))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://example.org:22/",
        "https://example.org:0/",
        "https://example.org:65536/",
        "https://user@example.org/",
        "https://:password@example.org/",
        "https://example.org\\@10.0.0.1/",
        "https://localhost/",
        "https://localhost./",
        "https://api.localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://[::ffff:0:7f00:1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::1%25lo]/",
        "https://example.1/",
        "https://example.org./",
        "https://example..org/",
        "https://.example.org/",
        "https://exa%6dple.org/",
        "https://a,b/",
        "https://*.example.org/",
        "https://" + "a" * 64 + ".org/",
        "https://" + "a." * 127 + "org/",
        "https://./",
        "https:///path",
        "//example.org/",
        "https://example.org/#a",
        "https://example.org/\n",
    ],
)
def test_a_url_that_may_never_be_called_is_refused(url: str) -> None:
    """W4, W4c."""
    with pytest.raises(Invalid) as refused:
        target(url, (443, 8443), ())
    assert [error.field for error in refused.value.errors] == ["url"]


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(max_size=40).map("https://{}".format),
        st.text(max_size=9).map("https://[{}]".format),
    )
)
@example("https://xn--/")
@example("https://[v1.x]/")
@example("https://a:٣/")
@example("https://" + "a" * 300 + "/")
@example("https://\ud800/")
@example("https://example.org/\ud800?\udfff")
@example("https://\u2024/")
def test_any_text_is_a_target_or_invalid(url: str) -> None:
    """W4: nothing that somebody types is an internal error."""
    for allowed in ((), LOOPBACK):
        try:
            found = target(url, (443,), allowed)
        except Invalid:
            continue
        assert found.host.isascii()
        assert not set(found.authority + found.path) & set("\r\n ")


def test_http_and_other_ports_are_left_to_allowed_networks() -> None:
    """W4b."""
    assert lenient(target("http://127.0.0.1:8080/", (443,), LOOPBACK), (443,))
    assert lenient(target("https://example.org:8080/", (443,), LOOPBACK), (443,))
    for url in ("http://10.0.0.1:8080/", "http://8.8.8.8/", "https://8.8.8.8:8080/"):
        with pytest.raises(Invalid):
            target(url, (443,), LOOPBACK)


# Patterns and payload


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*", ["user.registered", "auth.session_started"], ["system.requests_measured", "jobs.dead"]),
        ("user.*", ["user.registered", "user.a.b"], ["users.registered", "user", "auth.user"]),
        ("user.registered", ["user.registered"], ["user.registered_twice", "user"]),
        ("system.*", ["system.requests_measured"], ["user.registered"]),
    ],
)
def test_patterns_are_exact_or_prefixes_or_everything(pattern: str, matching: list[str], other: list[str]) -> None:
    assert [name for name in matching + other if patterns.matches([pattern], name)] == matching
    assert not patterns.matches([], "user.registered")


def test_the_payload_keeps_the_order_and_the_text_of_the_event() -> None:
    """W10, WT8."""
    data = '{"z":1,"a":{"y":1e400,"b":"\u00fc\\u0000"},"m":[1.0,2]}'

    body = patterns.payload("user.registered", NOW.astimezone(timezone(timedelta(hours=2))), data)

    assert body == '{"type":"user.registered","timestamp":"2026-01-02T03:04:05.600000Z","data":' + data + "}"
    assert list(json.loads(body)["data"]) == ["z", "a", "m"]


# The schedule


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def failed(status: int, **given: str) -> Outcome:
    return Outcome(status=status, **given)  # type: ignore[arg-type]  # only texts are given here


@pytest.mark.parametrize("status", [100, 300, 302, 400, 401, 404, 409, 429, 500, 503, 599])
def test_everything_but_2xx_is_repeated(status: int) -> None:
    """W7."""
    assert judge(failed(status), 0, TABLE, NOW, middle) == Verdict("pending", after=5.0)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_success(status: int) -> None:
    """W7."""
    assert judge(failed(status), 3, TABLE, NOW, middle) == Verdict("succeeded")


def test_what_ends_a_delivery() -> None:
    """W4b, W7, W7a."""
    assert judge(failed(410), 0, TABLE, NOW, middle) == Verdict("aborted", disable=True)
    assert judge(Outcome(status=500, abort=True), 0, TABLE, NOW, middle) == Verdict("aborted")
    assert judge(Outcome(error="x", refused=True), 0, TABLE, NOW, middle) == Verdict("dead")
    assert judge(Outcome(error="reset"), len(TABLE), TABLE, NOW, middle) == Verdict("dead")
    assert judge(Outcome(error="reset"), 0, (), NOW, middle) == Verdict("dead")


def test_the_schedule_is_that_of_the_standard_with_jitter() -> None:
    """W10: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, each by up to 20 % shorter or longer."""
    dice = random.Random(1)
    for step, delay in enumerate((5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)):
        drawn = [judge(failed(500), step, WebhooksSettings().retry_delays, NOW, dice.uniform).after for _ in range(200)]
        assert all(each is not None and 0.8 * delay <= each <= 1.2 * delay for each in drawn)
        assert len(set(drawn)) > 100


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("99999999999", LONGEST),
        ("9" * 5000, LONGEST),
        (format_datetime(NOW.replace(microsecond=600_000) + timedelta(seconds=90), usegmt=True), 89.4),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
        ("", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("\u0663", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_capped(given: str, seconds: float) -> None:
    """W7."""
    assert wanted_pause(given, NOW) == pytest.approx(seconds)


def test_a_receiver_that_is_busy_gets_the_longer_of_both_pauses() -> None:
    """W7."""
    for status in (429, 503):
        assert judge(failed(status, retry_after="120"), 0, TABLE, NOW, middle).after == 120
        assert judge(failed(status, retry_after="120"), 1, TABLE, NOW, middle).after == 300
    assert judge(failed(500, retry_after="120"), 0, TABLE, NOW, middle).after == 5


# Settings


def test_an_attempt_has_the_limits_of_the_standard() -> None:
    """W5: 5 s to connect, 20 s in all, 64 kB read, 4 kB kept."""
    settings = WebhooksSettings()

    assert (settings.connect_timeout, settings.attempt_timeout, READ_LIMIT, EXCERPT) == (5, 20, 65536, 4096)
    assert (settings.allowed_networks, settings.allowed_ports, settings.retention_days) == ((), (443, 8443), 30)


@pytest.mark.parametrize(
    "given",
    [
        {"allowed_networks": ("10.0.0.1/8",)},
        {"allowed_networks": ("everything",)},
        {"allowed_ports": ()},
        {"allowed_ports": (0,)},
        {"retry_delays": (-1.0,)},
        {"attempt_timeout": 0},
        {"attempt_timeout": 31},
        {"retention_days": 0},
    ],
)
def test_settings_that_make_no_sense_refuse_the_start(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        WebhooksSettings(**given)  # type: ignore[arg-type]  # wrong on purpose
