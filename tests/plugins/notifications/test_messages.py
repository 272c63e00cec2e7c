"""Templates, mail messages and settings of notifications: pure functions."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from hashlib import sha256
from importlib.resources import files
from uuid import UUID

import pytest

from orion_core.ids import new_id
from orion_plugins.notifications.mails import build, message_id, parse_sender
from orion_plugins.notifications.rendering import Rendered, TemplateError, render
from orion_plugins.notifications.settings import NotificationsSettings

CONTENT = Rendered("Welcome to Zürich", "Hello\n", "<p>Hello</p>\n")
DELIVERY = UUID("0190f5a0-0000-7000-8000-000000000001")
PUBLISHED = {
    "account_exists.v1.html": "a4583b2fcf099674",
    "account_exists.v1.txt": "868a69525e2a86b0",
    "email_change_confirmation.v1.html": "0a3523f5212ee977",
    "email_change_confirmation.v1.txt": "01ec1ac8a1588f8d",
    "email_change_consent.v1.html": "0633d14de2aa8237",
    "email_change_consent.v1.txt": "a02a7defbe8319ce",
    "email_changed.v1.html": "2a0474464924620c",
    "email_changed.v1.txt": "6804c23564fc6794",
    "email_verification.v1.html": "71501126cd09e39f",
    "email_verification.v1.txt": "a20d78c11daef297",
    "factors_changed.v1.html": "4095566cadc2f6cb",
    "factors_changed.v1.txt": "53a54f9d8809a51e",
    "password_changed.v1.html": "3181446fcde9faac",
    "password_changed.v1.txt": "4a597e1383243565",
    "password_reset.v1.html": "c30a7f0d7c9c227e",
    "password_reset.v1.txt": "a722558c91155501",
    "refresh_reuse.v1.html": "af1e620a2c65512f",
    "refresh_reuse.v1.txt": "d76a876e6bf01c1d",
    "welcome.v1.html": "30f7ff5bb4a00ec5",
    "welcome.v1.txt": "800a9b4157a8b2c0",
}


def message(to: str = "ada@x.org", correlation_id: str = "req-1", content: Rendered = CONTENT) -> EmailMessage:
    sender = parse_sender("Shop <no-reply@example.org>")
    return build(
        content,
        sender=sender,
        to=to,
        identifier=message_id(DELIVERY, sender),
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        correlation_id=correlation_id,
    )


def test_a_message_has_every_header_it_needs() -> None:
    """N5, E9."""
    made = message_from_bytes(message().as_bytes(), policy=policy.default)

    assert {name: made[name] for name in made} == {
        "From": "Shop <no-reply@example.org>",
        "To": "ada@x.org",
        "Subject": "Welcome to Zürich",
        "Date": "Fri, 02 Jan 2026 03:04:05 +0000",
        "Message-ID": f"<{DELIVERY}@example.org>",
        "Auto-Submitted": "auto-generated",
        "X-Correlation-ID": "req-1",
        "MIME-Version": "1.0",
        "Content-Type": made["Content-Type"],
    }
    assert made.get_content_type() == "multipart/alternative"
    assert [part.get_content().strip() for part in made.iter_parts()] == ["Hello", "<p>Hello</p>"]


def test_a_message_is_ascii_on_the_wire_unless_the_address_is_not() -> None:
    """N5."""
    assert message().as_bytes().isascii()
    assert message("ada@bücher.example").as_bytes().isascii()
    assert message("ada@bücher.example")["To"] == "ada@xn--bcher-kva.example"
    assert message("ada@faß.example")["To"] == "ada@xn--fa-hia.example"
    assert "jörg@x.org".encode() in message("jörg@x.org").as_bytes()


@pytest.mark.parametrize("to", ["", "ada", "ada@", "@x.org", "ada@x.org\r\nBcc: eve@x.org", "a\r\nb@x.org", "a@x\n"])
def test_an_address_that_is_none_makes_no_message(to: str) -> None:
    """N5."""
    with pytest.raises(ValueError):
        message(to)


def test_headers_with_line_breaks_are_refused() -> None:
    """N5."""
    with pytest.raises(ValueError):
        message(correlation_id="x\r\nBcc: eve@x.org")
    with pytest.raises(ValueError):
        message(content=Rendered("Hi\nBcc: eve@x.org", "", ""))


def test_every_attempt_of_a_delivery_has_the_same_message_id() -> None:
    """N4a."""
    sender = Address("Shop", "no-reply", "example.org")

    assert message_id(DELIVERY, sender) == message_id(DELIVERY, sender)
    assert message_id(DELIVERY, sender) != message_id(new_id(), sender)


def test_variables_are_escaped_in_html_and_never_filled_in_twice() -> None:
    """N6, N6a."""
    hostile = "<script>$email ${product} {{config}} {{''.__class__}}"

    made = render("welcome", 1, {"greeting": hostile, "email": "ada@x.org", "product": "Shop & Co"})

    assert made.subject == "Welcome to Shop & Co"
    assert hostile in made.text
    assert "<script>" not in made.html
    assert "&lt;script&gt;$email ${product} {{config}}" in made.html
    assert "Shop &amp; Co" in made.html


def test_a_variable_that_is_not_given_is_an_error_with_its_line() -> None:
    """N6."""
    with pytest.raises(TemplateError, match=r"welcome\.v1\.txt, line 3: the variable email is not given"):
        render("welcome", 1, {"greeting": "Hello", "product": "Shop"})


def test_a_template_that_does_not_exist_is_an_error() -> None:
    """N6b."""
    with pytest.raises(TemplateError, match=r"welcome\.v99\.txt does not exist"):
        render("welcome", 99, {})


def test_a_subject_is_one_line_whatever_the_variables_hold() -> None:
    """N5."""
    made = render("welcome", 1, {"greeting": "Hello", "email": "x", "product": "Shop\r\nBcc: eve@x.org"})

    assert made.subject == "Welcome to Shop Bcc: eve@x.org"


def test_published_templates_never_change() -> None:
    """N6b: a new text is a new version; the hashes of the published ones are written down here."""
    folder = files("orion_plugins.notifications.templates")

    hashes = {item.name: sha256(item.read_bytes()).hexdigest()[:16] for item in folder.iterdir() if ".v" in item.name}

    assert hashes == PUBLISHED


@pytest.mark.parametrize("sender", ["", "Shop", "Shop <shop>", "Shop <a@b>\nBcc: c@d", "@x.org", "a@"])
def test_a_sender_that_is_no_address_is_refused_at_start(sender: str) -> None:
    """N5."""
    with pytest.raises(ValueError, match="mail_from must be like"):
        NotificationsSettings(mail_from=sender)


def test_the_senders_name_is_what_messages_call_the_product() -> None:
    """N5."""
    assert NotificationsSettings().product == "ORION"
    assert NotificationsSettings(mail_from="Büro & Co <no-reply@example.org>").product == "Büro & Co"
    assert NotificationsSettings(mail_from="no-reply@example.org").product == "ORION"


@pytest.mark.parametrize("days", [0, -1, 36_501, 10**12])
def test_a_retention_below_a_day_or_beyond_all_calendars_is_refused_at_start(days: int) -> None:
    """N10a."""
    with pytest.raises(ValueError, match="retention_days must be from 1 to 36500"):
        NotificationsSettings(retention_days=days)
