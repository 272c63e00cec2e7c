"""Mail over SMTP: what the server's answers become, and what never leaves unprotected."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orion_core.adapters.smtp_mail import SmtpMail
from orion_core.ports.mail import MailRefused, MailUnavailable
from orion_core.testing.faults import FaultProxy
from orion_core.testing.suites.mail import MailSuite, Post, a_message

SECRET_BODY = "the reset link is in here"


@attrs.define
class Sink:
    """An SMTP server's memory, and the answers it gives next: to RCPT, and to the message."""

    port: int = 0
    envelopes: list[Envelope] = attrs.Factory(list)
    to_recipient: dict[str, str] = attrs.Factory(dict)
    to_message: list[str] = attrs.Factory(list)

    async def handle_RCPT(  # noqa: N802 - the name aiosmtpd calls
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.to_recipient.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802 - see above
        answer = self.to_message.pop(0) if self.to_message else "250 OK"
        if answer.startswith("250"):
            self.envelopes.append(envelope)
        return answer

    def messages(self) -> list[EmailMessage]:
        return [email.message_from_bytes(content(item), policy=email.policy.default) for item in self.envelopes]


def content(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


@asynccontextmanager
async def a_sink(*, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Sink]:
    sink = Sink()
    made: list[SMTP] = []

    def protocol() -> SMTP:
        made.append(SMTP(sink, hostname="mail.example.org", **options))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()
        for item in made:
            if isinstance(item.transport, asyncio.Transport):
                item.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def sending(url: str) -> AsyncIterator[SmtpMail]:
    mail = SmtpMail(url)
    try:
        yield mail
    finally:
        await mail.aclose()


class TestSmtpMail(MailSuite):
    @asynccontextmanager
    async def post(self) -> AsyncIterator[Post]:
        async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
            yield Post(mail, sink.messages)


async def test_every_recipient_is_in_the_envelope_and_bcc_in_no_header() -> None:
    async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        message = a_message(to="Ada <ada@example.org>, Grace <grace@example.org>")
        message["Cc"] = "ada@example.org, linus@example.org"
        message["Bcc"] = "eve@example.org"
        await mail.send(message)
        (envelope,) = sink.envelopes
        assert envelope.mail_from == "orion@example.org"
        assert envelope.rcpt_tos == ["ada@example.org", "grace@example.org", "linus@example.org", "eve@example.org"]
        assert b"eve" not in content(envelope)


async def test_what_goes_over_the_wire_is_ascii() -> None:
    """N5: names, subjects and domains outside ASCII are encoded (RFC 2047, IDNA)."""
    async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        await mail.send(a_message(to="Grüße <ada@faß.example>", subject="Grüße", text="Grüße\n"))
        (envelope,) = sink.envelopes
        assert content(envelope).isascii()
        assert envelope.rcpt_tos == ["ada@xn--fa-hia.example"]
        assert str(sink.messages()[0]["To"]) == "Grüße <ada@xn--fa-hia.example>"


async def test_an_address_outside_ascii_needs_a_server_that_takes_it() -> None:
    message = a_message(to="ädä@bücher.example")
    async with a_sink(enable_SMTPUTF8=True) as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        await mail.send(message)
        assert sink.envelopes[0].rcpt_tos == ["ädä@xn--bcher-kva.example"]
    async with a_sink(enable_SMTPUTF8=False) as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        with pytest.raises(MailRefused, match="SMTPUTF8"):
            await mail.send(message)


@pytest.mark.parametrize("to", ["nobody", "<>", "@example.org", "undisclosed:;"])
async def test_what_is_no_address_is_refused_before_connecting(to: str) -> None:
    async with FaultProxy("127.0.0.1", 9) as proxy, sending(f"smtp://127.0.0.1:{proxy.port}") as mail:
        with pytest.raises(MailRefused):
            await mail.send(a_message(to=to))


async def test_try_later_is_unavailable_and_the_next_try_arrives() -> None:
    async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        sink.to_message = ["451 4.3.0 try again later"]
        message = a_message(text=SECRET_BODY)
        with pytest.raises(MailUnavailable, match=re.escape("451 4.3.0 try again later")):
            await mail.send(message)
        await mail.send(message)
        assert len(sink.envelopes) == 1


@pytest.mark.parametrize("answer", ["550 5.7.1 spam", "554 5.6.0 malformed"])
async def test_a_message_refused_for_good_is_refused(answer: str) -> None:
    async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        sink.to_message = [answer]
        with pytest.raises(MailRefused, match=re.escape(answer)) as caught:
            await mail.send(a_message(text=SECRET_BODY))
        assert SECRET_BODY not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("550 5.1.1 unknown", MailRefused),
        ("450 4.2.1 greylisted", MailUnavailable),
        ("530 5.7.0 login first", MailUnavailable),
    ],
)
async def test_a_recipient_refused_is_judged_by_the_answer(answer: str, expected: type[Exception]) -> None:
    async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        sink.to_recipient["grace@example.org"] = answer
        with pytest.raises(expected, match=re.escape(answer)):
            await mail.send(a_message())


async def test_one_recipient_refused_among_others_is_told_and_not_sent_again() -> None:
    async with a_sink() as sink, sending(f"smtp://127.0.0.1:{sink.port}") as mail:
        sink.to_recipient["ada@example.org"] = "550 5.1.1 unknown"
        with pytest.raises(MailRefused, match=re.escape("1 of 2 recipients: 550 5.1.1 unknown")):
            await mail.send(a_message(to="ada@example.org, grace@example.org"))
        assert [item.rcpt_tos for item in sink.envelopes] == [["grace@example.org"]]


@pytest.mark.parametrize("fault", ["refuse", "stall"])
async def test_an_outage_is_unavailable_and_heals_without_a_restart(fault: str) -> None:
    async with (
        a_sink() as sink,
        FaultProxy("127.0.0.1", sink.port) as proxy,
        sending(f"smtp://127.0.0.1:{proxy.port}?timeout=0.3") as mail,
    ):
        await getattr(proxy, fault)()
        with pytest.raises(MailUnavailable):
            await mail.send(a_message())
        check = await mail.check()
        assert (check.status, f"127.0.0.1:{proxy.port}" in check.detail) == ("warn", True)
        await proxy.heal()
        await mail.send(a_message())
        assert (await mail.check()).status == "pass"
        assert len(sink.envelopes) == 1


async def test_a_server_that_drips_is_left_after_the_timeout() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not reader.at_eof():
                writer.write(b"220-mail.example.org is thinking\r\n")
                await writer.drain()
                await asyncio.wait([asyncio.ensure_future(reader.read(1))], timeout=0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(10), sending(f"smtp://127.0.0.1:{port}?timeout=0.3") as mail:
        with pytest.raises(MailUnavailable, match="no answer in time"):
            await mail.send(a_message())


async def test_closing_breaks_off_what_hangs() -> None:
    async with a_sink() as sink, FaultProxy("127.0.0.1", sink.port) as proxy:
        await proxy.stall()
        async with asyncio.timeout(10), sending(f"smtp://127.0.0.1:{proxy.port}?timeout=3600") as mail:
            hanging = [asyncio.create_task(mail.send(a_message())) for _ in range(6)]
            await until(lambda: proxy.connections == 4)
            await mail.aclose()
            results = await asyncio.gather(*hanging, return_exceptions=True)
            assert {type(result) for result in results} == {MailUnavailable}
            with pytest.raises(MailUnavailable, match="closed"):
                await mail.send(a_message())


async def test_a_cancelled_send_ends_its_connection() -> None:
    async with (
        a_sink() as sink,
        FaultProxy("127.0.0.1", sink.port) as proxy,
        asyncio.timeout(10),
        sending(f"smtp://127.0.0.1:{proxy.port}?timeout=3600") as mail,
    ):
        await proxy.stall()
        task = asyncio.create_task(mail.send(a_message()))
        await until(lambda: proxy.connections == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_starttls_and_login_come_before_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = a_certificate(tmp_path, monkeypatch)
    logins: list[LoginPassword] = []

    def authenticate(server: SMTP, session: Any, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        logins.append(data)
        return AuthResult(success=data.password == b"p@ss word", handled=False)

    options: dict[str, Any] = {
        "tls_context": tls,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": authenticate,
    }
    async with a_sink(**options) as sink:
        async with sending(f"smtp://ada:p%40ss%20word@localhost:{sink.port}?starttls=1") as mail:
            await mail.send(a_message())
            assert len(sink.envelopes) == 1
            assert logins == [LoginPassword(b"ada", b"p@ss word")]
        async with sending(f"smtp://ada:wrong@localhost:{sink.port}?starttls=1") as mail:
            with pytest.raises(MailUnavailable, match="535") as caught:
                await mail.send(a_message())
            assert "wrong" not in str(caught.value)


async def test_smtps_has_tls_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = a_certificate(tmp_path, monkeypatch)
    async with a_sink(tls=tls) as sink, sending(f"smtps://localhost:{sink.port}") as mail:
        await mail.send(a_message())
        assert len(sink.envelopes) == 1


@pytest.mark.parametrize("scheme", ["smtps://127.0.0.1:{}", "smtp://127.0.0.1:{}?starttls=1"])
async def test_a_certificate_for_another_name_is_not_accepted(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = a_certificate(tmp_path, monkeypatch)  # for localhost only
    options: dict[str, Any] = {"tls": tls} if scheme.startswith("smtps") else {"tls_context": tls}
    async with a_sink(**options) as sink, sending(scheme.format(sink.port)) as mail:
        with pytest.raises(MailUnavailable, match="certificate"):
            await mail.send(a_message())
        assert sink.envelopes == []


async def test_without_tls_on_offer_nothing_is_sent_in_clear() -> None:
    async with a_sink() as sink, sending(f"smtp://ada:secret@127.0.0.1:{sink.port}?starttls=1") as mail:
        with pytest.raises(MailUnavailable, match="STARTTLS"):
            await mail.send(a_message())
        assert sink.envelopes == []


def test_the_password_shows_nowhere() -> None:
    mail = SmtpMail("smtps://ada:hunter2@mail.example.org")
    assert repr(mail) == "SmtpMail('mail.example.org:465')"
    assert "hunter2" not in str(vars(mail))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://mail.example.org", "not a mail server's URL"),
        ("smtp://", "not a mail server's URL"),
        ("smtp://ada:hunter2/x@mail.example.org", "not a mail server's URL"),
        ("smtp://mail.example.org?tls=1", "unknown option tls"),
        ("smtp://mail.example.org?starttls=yes", "must be 0 or 1"),
        ("smtp://mail.example.org?timeout=0", "seconds above 0"),
        ("smtp://mail.example.org?timeout=nan", "seconds above 0"),
        ("smtp://ada@mail.example.org", "both user and password"),
        ("smtps://mail.example.org?starttls=1", "leave it out"),
        ("smtp://ada:hunter2@mail.example.org", "in clear"),
    ],
)
def test_a_url_that_cannot_work_is_refused_and_not_repeated(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        SmtpMail(url)
    assert "hunter2" not in str(caught.value)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def a_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context with a new certificate for localhost, which clients of this process trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
