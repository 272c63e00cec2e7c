"""Mail over SMTP (RFC 5321)."""

from __future__ import annotations

import asyncio
import copy
import email.policy
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address, AddressHeader, Group, HeaderRegistry
from email.message import EmailMessage
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import idna

from orion_core.mime import check_headers
from orion_core.ports.check import Check
from orion_core.ports.mail import MailRefused, MailUnavailable
from orion_core.secret import Secret

_TIMEOUT = 30.0
_CHECK_TIMEOUT = 1.0
_PARALLEL = 4
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ADDRESS_HEADERS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc")
_HEADERS = HeaderRegistry()
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Codes that say that we may not send at all (RFC 4954, 6), so that the message is not to blame.
_NOT_THE_MESSAGE = frozenset({530, 534, 535, 538})
# Everything as 7 bits: no server on the way needs an extension.
_WIRE = email.policy.SMTP.clone(cte_type="7bit")
_WIRE_UTF8 = email.policy.SMTPUTF8.clone(cte_type="8bit")


@attrs.frozen
class _Server:
    host: str
    port: int
    tls: bool
    starttls: bool
    user: str
    password: Secret
    timeout: float

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


class SmtpMail:
    """Keeps the port `Mail` by handing each message to a server, on a connection of its own.

    `url` is ``smtp://user:password@host:587?starttls=1`` or ``smtps://user:password@host:465``; ``timeout`` (30) is in
    seconds and bounds a whole `send`. With ``starttls=1`` nothing is sent unless TLS with a valid certificate is there;
    a password without TLS is only sent to this machine, or with ``starttls=0`` said on purpose. Raises ValueError for
    any other URL. Neither bodies nor the password appear in errors or `repr`. At most four messages leave at a time.
    """

    def __init__(self, url: str) -> None:
        self._server = _parse(url)
        # Threads of its own: a server that hangs must not keep the shared ones from everybody else.
        self._threads = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="orion-smtp")
        self._sessions: set[_Session] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"SmtpMail({self._server.place!r})"

    async def send(self, message: EmailMessage) -> None:
        """Hand over `message` to all its recipients.

        Raises `MailRefused` when the server refuses the message or a recipient for good (5xx), and `MailUnavailable`
        for 4xx, a refused login, a timeout or a lost connection.
        """
        check_headers(message)
        parcel = _pack(message)
        try:
            await self._run(self._server.timeout, lambda session, client: session.deliver(client, parcel))
        except smtplib.SMTPRecipientsRefused as error:
            raise self._judged(list(error.recipients.values())) from error
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise self._judged([(error.smtp_code, error.smtp_error)]) from error
        except (smtplib.SMTPException, OSError) as error:
            raise self._away(error) from error

    async def check(self) -> Check:
        """``pass`` when the server greets, else ``warn`` with the reason."""
        try:
            await self._run(_CHECK_TIMEOUT, lambda _, client: None)
        except MailUnavailable as error:
            return Check("warn", error.detail)
        except (smtplib.SMTPException, OSError) as error:
            return Check("warn", self._away(error).detail)
        return Check("pass")

    async def aclose(self) -> None:
        """Break off what is being sent and end the threads."""
        self._closed = True
        for session in list(self._sessions):
            session.abort()
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, timeout: float, task: Callable[[_Session, smtplib.SMTP], None]) -> None:
        if self._closed:
            raise MailUnavailable("mail is closed")
        session = _Session(self._server, timeout)
        self._sessions.add(session)
        try:
            # smtplib's timeout holds for each reply; this one for all of them.
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().run_in_executor(self._threads, session.run, task)
        finally:
            session.abort()
            self._sessions.discard(session)

    def _judged(self, answers: Sequence[tuple[int, bytes | str]]) -> MailRefused | MailUnavailable:
        reasons = "; ".join(_says(*answer) for answer in answers)
        if all(code >= 500 and code not in _NOT_THE_MESSAGE for code, _ in answers):
            return MailRefused(f"{self._server.place} refused the message: {reasons}")
        return MailUnavailable(f"{self._server.place} does not take the message now: {reasons}")

    def _away(self, error: Exception) -> MailUnavailable:
        if isinstance(error, TimeoutError):
            return MailUnavailable(f"{self._server.place} gave no answer in time")
        reason = _says(error.smtp_code, error.smtp_error) if isinstance(error, smtplib.SMTPResponseException) else error
        return MailUnavailable(f"{self._server.place} is unavailable: {reason}")


@attrs.frozen
class _Parcel:
    """A message as it goes over the wire, and its envelope."""

    sender: str
    recipients: Sequence[str]
    content: bytes
    needs_utf8: bool


class _Session:
    """One connection, used in a thread and broken off from the event loop."""

    def __init__(self, server: _Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._connection: socket.socket | None = None
        self._aborted = False

    def run(self, task: Callable[[_Session, smtplib.SMTP], None]) -> None:
        # Given no host, the client does not connect by itself: `abort` must reach every socket before it can block.
        client = smtplib.SMTP(local_hostname=_own_name(), timeout=self._timeout)
        try:
            client.sock = self._open()
            code, text = client.getreply()
            if code != 220:
                raise smtplib.SMTPConnectError(code, text)
            client.ehlo_or_helo_if_needed()
            task(self, client)
            # What was asked is done: what goes wrong while saying goodbye changes nothing.
            with suppress(smtplib.SMTPException, OSError):
                client.quit()
        finally:
            client.close()
            if self._connection is not None:
                self._connection.close()

    def deliver(self, client: smtplib.SMTP, parcel: _Parcel) -> None:
        server = self._server
        if server.starttls:
            self._start_tls(client)
        if server.user:
            client.login(server.user, server.password.reveal())
        options = []
        if parcel.needs_utf8:
            if not client.has_extn("smtputf8"):
                raise MailRefused(f"{server.place} takes no addresses outside ASCII (SMTPUTF8, RFC 6531)")
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        refused = client.sendmail(parcel.sender, parcel.recipients, parcel.content, options)
        if refused:
            # The others have it: sent again it would reach them twice.
            reasons = "; ".join(_says(*answer) for answer in refused.values())
            raise MailRefused(
                f"{server.place} refused {len(refused)} of {len(parcel.recipients)} recipients: {reasons}"
            )

    def abort(self) -> None:
        self._aborted = True
        if self._connection is not None:
            with suppress(OSError):
                # The plain socket's own method: TLS's would first go back to sending in clear.
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def _open(self) -> socket.socket:
        self._go_on()
        connection = socket.create_connection((self._server.host, self._server.port), self._timeout)
        self._connection = connection
        self._go_on()
        return self._secured(connection) if self._server.tls else connection

    def _start_tls(self, client: smtplib.SMTP) -> None:
        if not client.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("it does not offer STARTTLS")
        code, text = client.docmd("STARTTLS")
        if code != 220 or client.sock is None:
            raise smtplib.SMTPResponseException(code, text)
        client.sock = self._secured(client.sock)
        # What was said in clear does not count any more (RFC 3207, 4.2), nor what came along unread.
        client.file = None
        client.helo_resp = client.ehlo_resp = None
        client.esmtp_features = {}
        client.does_esmtp = False
        client.ehlo()

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        secured = ssl.create_default_context().wrap_socket(
            connection, server_hostname=self._server.host, do_handshake_on_connect=False
        )
        self._connection = secured
        self._go_on()
        secured.do_handshake()
        return secured

    def _go_on(self) -> None:
        if self._aborted:
            raise ConnectionAbortedError("broken off")


def _pack(message: EmailMessage) -> _Parcel:
    try:
        prepared = _with_ascii_domains(message)
        sender = _mailboxes(prepared, "Sender") or _mailboxes(prepared, "From")
        recipients = list(dict.fromkeys(_mailboxes(prepared, "To", "Cc", "Bcc")))
        del prepared["Bcc"]
        needs_utf8 = not all(address.isascii() for address in (*sender, *recipients))
        content = prepared.as_bytes(policy=_WIRE_UTF8 if needs_utf8 else _WIRE)
    except (MessageError, UnicodeError, ValueError, LookupError) as error:
        raise MailRefused(f"the message cannot be encoded: {error}") from error
    if not sender:
        raise MailRefused("header From: is missing")
    if not recipients:
        raise MailRefused("header To: is missing")
    return _Parcel(sender[0], recipients, content, needs_utf8)


def _with_ascii_domains(message: EmailMessage) -> EmailMessage:
    prepared = copy.deepcopy(message)
    prepared.policy = _WIRE
    for name in _ADDRESS_HEADERS:
        header = _addresses(message, name)
        if header is None or all(address.domain.isascii() for address in header.addresses):
            continue
        groups = tuple(
            Group(group.display_name, tuple(_with_ascii_domain(address) for address in group.addresses))
            for group in header.groups
        )
        del prepared[name]
        prepared[name] = groups
    return prepared


def _with_ascii_domain(address: Address) -> Address:
    if address.domain.isascii():
        return address
    domain = idna.encode(address.domain, uts46=True).decode("ascii")
    return Address(address.display_name, address.username, domain)


def _mailboxes(message: EmailMessage, *names: str) -> list[str]:
    found = []
    for name in names:
        header = _addresses(message, name)
        for address in header.addresses if header is not None else ():
            if not address.username or not address.domain or _CONTROL.search(address.addr_spec):
                raise MailRefused(f"header {name}: must hold addresses like ada@example.org")
            found.append(address.addr_spec)
    return found


def _addresses(message: EmailMessage, name: str) -> AddressHeader | None:
    values = message.get_all(name)
    if not values:
        return None
    return cast("AddressHeader", _HEADERS(name, ", ".join(str(value) for value in values)))


def _says(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"[:200]


def _own_name() -> str:
    # smtplib would ask the DNS, without a limit of time.
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"


def _parse(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    # The URL itself stays out of every message: it holds the password.
    if host is None or parts.scheme not in ("smtp", "smtps"):
        raise ValueError("not a mail server's URL, use smtp://host:587?starttls=1 or smtps://host:465")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    starttls = options.pop("starttls", None)
    timeout = options.pop("timeout", str(_TIMEOUT))
    if options:
        raise ValueError(f"unknown option {min(options)} in the mail URL, known are starttls and timeout")
    if starttls not in (None, "0", "1"):
        raise ValueError("starttls in the mail URL: must be 0 or 1")
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", timeout) or float(timeout) <= 0:
        raise ValueError("timeout in the mail URL: must be a number of seconds above 0")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("the mail URL: must hold both user and password, or neither")
    tls = parts.scheme == "smtps"
    if tls and starttls == "1":
        raise ValueError("starttls in the mail URL: smtps:// has TLS from the start, leave it out")
    if user and not tls and starttls is None and host not in _LOOPBACK:
        raise ValueError("the mail URL would send the password in clear: add ?starttls=1, or use smtps://")
    default_port = 465 if tls else 587 if starttls == "1" else 25
    return _Server(host, port or default_port, tls, starttls == "1", user, Secret(password), float(timeout))
