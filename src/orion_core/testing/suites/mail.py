"""What every way to send mail must do."""

from __future__ import annotations

import abc
import asyncio
import email.policy
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from email.message import EmailMessage
from email.utils import make_msgid

import attrs
import idna
import pytest

from orion_core.ports.mail import Mail, MailRefused


@attrs.frozen
class Post:
    """Mail to send with, and what has arrived on its other side, in any order."""

    mail: Mail
    arrived: Callable[[], Sequence[EmailMessage]]


def a_message(to: str = "Grace <grace@example.org>", subject: str = "Welcome", text: str = "Hello\n") -> EmailMessage:
    """A complete message with the given parts."""
    message = EmailMessage()
    message["From"] = "ORION <orion@example.org>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = make_msgid(domain="example.org")
    message.set_content(text)
    return message


class MailSuite(abc.ABC):
    """The conformance suite of the port `Mail`: a test class subclasses it and says how to open one."""

    @abc.abstractmethod
    def post(self) -> AbstractAsyncContextManager[Post]:
        """A way to send mail, with nothing arrived yet; closed at the end."""

    async def test_a_message_arrives_once_and_whole(self) -> None:
        async with self.post() as post:
            message = a_message()
            await post.mail.send(message)
            arrived = self._only(post)
            for name in ("From", "To", "Subject", "Message-ID"):
                assert str(arrived[name]) == str(message[name])
            assert self._text(arrived) == "Hello\n"

    async def test_text_and_html_arrive_as_alternatives(self) -> None:
        """N5: messages are multipart/alternative with text and HTML."""
        async with self.post() as post:
            message = a_message(text="Grüße\n")
            message.add_alternative("<p>Grüße</p>\n", subtype="html")
            await post.mail.send(message)
            arrived = self._only(post)
            assert arrived.get_content_type() == "multipart/alternative"
            assert self._text(arrived) == "Grüße\n"
            assert self._text(arrived, "html") == "<p>Grüße</p>\n"

    async def test_names_and_subjects_outside_ascii_arrive_readable(self) -> None:
        """N5: non-ASCII names and subjects are encoded correctly."""
        async with self.post() as post:
            message = a_message(to="Grüße Ærø <grace@example.org>", subject="日本語 und \N{SNOWMAN} " * 20)
            await post.mail.send(message)
            arrived = self._only(post)
            assert str(arrived["To"]) == str(message["To"])
            assert str(arrived["Subject"]).split() == str(message["Subject"]).split()

    async def test_a_domain_outside_ascii_arrives_as_unicode_or_idna(self) -> None:
        """N5: non-ASCII domains are encoded correctly."""
        async with self.post() as post:
            await post.mail.send(a_message(to="Ada <ada@faß.example>"))
            _, at, domain = str(self._only(post)["To"]).strip("<> ").rpartition("@")
            assert at
            assert domain.rstrip(">") in ("faß.example", idna.encode("faß.example").decode())

    @pytest.mark.parametrize(
        "text", [".\n..\n.a\n", "From here\n>From there\n", "a\n" * 5000, "ä" * 5000 + "\n", "x" * 5000 + "\n", "\n\n"]
    )
    async def test_a_body_arrives_unchanged(self, text: str) -> None:
        async with self.post() as post:
            await post.mail.send(a_message(text=text))
            assert self._text(self._only(post)) == text

    async def test_an_attachment_arrives_unchanged(self) -> None:
        async with self.post() as post:
            message = a_message()
            content = bytes(range(256)) * 400
            message.add_attachment(content, maintype="application", subtype="octet-stream", filename="grün.bin")
            await post.mail.send(message)
            (attachment,) = self._only(post).iter_attachments()
            assert attachment.get_content() == content
            assert attachment.get_filename() == "grün.bin"

    @pytest.mark.parametrize(
        "smuggled", ["a\r\nBcc: eve@example.org", "a\nBcc: eve@example.org", "a\rBcc: eve@example.org"]
    )
    async def test_a_line_break_in_a_header_is_refused(self, smuggled: str) -> None:
        """N5: header values with CR or LF are refused, whoever built the message."""
        with pytest.raises(ValueError, match="linefeed or carriage return"):
            a_message(subject=smuggled)
        with pytest.raises(ValueError, match="linefeed or carriage return"):
            a_message(to=f"{smuggled} <grace@example.org>")
        async with self.post() as post:
            message = EmailMessage(policy=email.policy.compat32)  # the one that checks nothing
            message["From"], message["To"], message["Subject"] = "orion@example.org", "grace@example.org", smuggled
            with pytest.raises(MailRefused):
                await post.mail.send(message)
            assert not post.arrived()

    async def test_a_line_break_in_a_headers_name_is_refused(self) -> None:
        """N5: header names cannot carry a second header either."""
        async with self.post() as post:
            message = a_message()
            message["X-Name: a\r\nBcc"] = "eve@example.org"
            with pytest.raises(MailRefused):
                await post.mail.send(message)
            assert not post.arrived()

    async def test_a_message_to_nobody_is_refused(self) -> None:
        async with self.post() as post:
            message = a_message()
            del message["To"]
            with pytest.raises(MailRefused):
                await post.mail.send(message)
            assert not post.arrived()

    async def test_sending_leaves_the_callers_message_as_it_was(self) -> None:
        """N4a: every attempt sends the same message, with the same Message-ID."""
        async with self.post() as post:
            message = a_message(to="Ada <ada@bücher.example>")
            message["Bcc"] = "eve@example.org"
            before = message.as_bytes()
            await post.mail.send(message)
            assert message.as_bytes() == before
            await post.mail.send(message)
            assert {str(item["Message-ID"]) for item in post.arrived()} == {str(message["Message-ID"])}

    async def test_many_messages_at_once_all_arrive(self) -> None:
        async with self.post() as post:
            messages = [a_message(subject=f"Number {number}") for number in range(20)]
            await asyncio.gather(*(post.mail.send(message) for message in messages))
            assert sorted(str(item["Message-ID"]) for item in post.arrived()) == sorted(
                str(message["Message-ID"]) for message in messages
            )

    async def test_a_working_way_to_send_passes_its_check(self) -> None:
        async with self.post() as post:
            assert (await post.mail.check()).status == "pass"
            assert not post.arrived()

    async def test_closing_twice_is_closing_once(self) -> None:
        async with self.post() as post:
            await post.mail.send(a_message())
            await post.mail.aclose()
            await post.mail.aclose()

    def _only(self, post: Post) -> EmailMessage:
        (message,) = post.arrived()
        return message

    def _text(self, message: EmailMessage, kind: str = "plain") -> str:
        body = message.get_body((kind,))
        assert isinstance(body, EmailMessage)
        return str(body.get_content()).replace("\r\n", "\n")
