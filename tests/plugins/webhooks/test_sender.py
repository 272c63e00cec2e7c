"""One attempt, against real receivers that misbehave and resolvers that lie."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orion_core.testing.faults import FaultProxy
from orion_core.testing.ports import free_ports
from orion_core.testing.receiver import Receiver
from orion_plugins.webhooks.names import THREADS, Names
from orion_plugins.webhooks.outcomes import Outcome
from orion_plugins.webhooks.sender import EXCERPT, READ_LIMIT, REFUSED, Resolve, Sender
from orion_plugins.webhooks.settings import WebhooksSettings

OPEN = WebhooksSettings(allowed_networks=("127.0.0.0/8",))
QUICK = WebhooksSettings(allowed_networks=("127.0.0.0/8",), attempt_timeout=0.3, connect_timeout=0.2)
CLOSED = WebhooksSettings()


def answering(*addresses: str) -> Resolve:
    """A resolver that gives these addresses for every name."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def send(url: str, settings: WebhooksSettings = OPEN, resolve: Resolve | None = None) -> Outcome:
    with contextlib.closing(Names()) as names:
        sender = Sender(settings, resolve or names)
        return await sender.send(url, {"content-type": "application/json"}, b'{"a":1}')


async def test_a_post_arrives_as_it_was_sent() -> None:
    """W2, W4a."""
    async with Receiver() as receiver:
        receiver.then(202, body=b"taken")
        outcome = await send(receiver.url)

        [arrived] = receiver.requests
        assert (arrived.method, arrived.path, arrived.body) == ("POST", "/hooks?from=orion", b'{"a":1}')
        assert arrived.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert (outcome.status, outcome.excerpt, outcome.address) == (202, "taken", "127.0.0.1")
        assert outcome.succeeded


async def test_the_connection_goes_to_the_checked_address_with_the_name_in_host() -> None:
    """W4a."""
    async with Receiver() as receiver:
        outcome = await send(f"http://hooks.example:{receiver.port}/", resolve=answering("127.0.0.1"))

        assert outcome.succeeded
        assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("8.8.8.8", "127.0.0.1"),
        ("8.8.8.8", "::ffff:10.0.0.1"),
        ("2606:4700::1111", "169.254.169.254"),
        ("100.64.0.1",),
        ("64:ff9b::7f00:1",),
        ("fe80::1%eth0",),
    ],
)
async def test_every_address_of_a_name_must_be_global(
    addresses: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """W4, W4b, W4c: refused for good, vague to the user and precise in the log."""
    with caplog.at_level(logging.WARNING, "orion.webhooks"):
        outcome = await send("https://hooks.example/t0p?token=t0p", CLOSED, answering(*addresses))

    assert (outcome.refused, outcome.error, outcome.address) == (True, REFUSED, "")
    assert addresses[-1] in caplog.text
    assert "t0p" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "https://0x7f000001/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost./",
        "https://localhost/",
        "http://example.org/",
        "https://example.org:6379/",
    ],
)
async def test_internal_targets_are_refused_however_they_are_spelled(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """W4, W4b, W4c: also if such a URL had been stored under other settings; the log says which one it was."""
    outcome = await send(url + "t0p?token=t0p#t0p", CLOSED)

    assert (outcome.refused, outcome.status, outcome.error) == (True, None, REFUSED)
    assert url.rstrip("/") in caplog.text
    assert "t0p" not in caplog.text


@pytest.mark.parametrize("url", ["https://0x7f000001:{port}/", "http://2130706433:{port}/", "http://[::1]:{port}/"])
async def test_an_allowed_network_opens_no_other_spelling_or_network(url: str) -> None:
    """W4b, W4c."""
    async with Receiver() as receiver:
        outcome = await send(url.format(port=receiver.port))

        assert outcome.refused
        assert receiver.requests == []


@pytest.mark.parametrize("url", ["http://hooks.example/", "https://hooks.example:6379/", "http://hooks.example:8080/"])
async def test_http_and_other_ports_stay_inside_the_allowed_networks(url: str) -> None:
    """W4, W4b."""
    assert (await send(url, OPEN, answering("8.8.8.8"))).refused
    assert (await send(url, OPEN, answering("127.0.0.1", "8.8.8.8"))).refused


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """W4a."""
    async with Receiver() as receiver, Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await send(receiver.url)).succeeded

        assert (len(receiver.requests), proxy.requests) == (1, [])


async def test_a_redirect_to_the_metadata_address_is_not_followed() -> None:
    """W4a, W4c."""
    async with Receiver() as receiver:
        for status in (301, 302, 303, 307, 308):
            receiver.then(status, {"location": "http://169.254.169.254/latest/meta-data"})
            outcome = await send(receiver.url)
            assert (outcome.status, outcome.kind) == (status, "failed")

        assert len(receiver.requests) == 5


async def test_a_receiver_that_drips_is_cut_off() -> None:
    """W5: the whole attempt has one limit."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with Receiver() as receiver:
        receiver.then_do(drip)
        outcome = await send(receiver.url, QUICK)

        assert (outcome.status, outcome.error) == (None, "no answer in time")
        assert outcome.latency_ms is not None


async def test_a_receiver_that_says_nothing_is_cut_off() -> None:
    """W5, W7."""

    async def wait(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with Receiver() as receiver:
        receiver.then_do(wait)
        assert (await send(receiver.url, QUICK)).error == "no answer in time"


async def test_headers_that_never_end_are_cut_off() -> None:
    """W5."""

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x-filler: " + b"a" * 1000 + b"\r\n")
            await writer.drain()

    async with Receiver() as receiver:
        receiver.then_do(endless)
        outcome = await send(receiver.url)
        receiver.then(200, {"x-large": "a" * 20_000})
        large = await send(receiver.url)

        assert outcome.kind == large.kind == "failed"
        assert "headers" in large.error


async def test_a_body_of_any_size_costs_no_more_than_the_limit() -> None:
    """W5, WT9: the rest stays unread."""
    sent = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 50_000_000:
            writer.write(b"b" * 65536)
            await writer.drain()
            sent += 65536

    async with Receiver() as receiver:
        receiver.then_do(pour)
        outcome = await send(receiver.url)

        assert outcome.status == 200
        assert outcome.excerpt == "b" * EXCERPT
        assert sent < 50_000_000
        assert READ_LIMIT == 64 * 1024


async def test_a_compressed_body_is_not_unpacked() -> None:
    """WT9."""
    bomb = gzip.compress(b"\x00" * 10_000_000)
    async with Receiver() as receiver:
        receiver.then(200, {"content-encoding": "gzip"}, bomb)
        outcome = await send(receiver.url)

        assert outcome.status == 200
        assert len(outcome.excerpt) <= EXCERPT
        assert "\x00" not in outcome.excerpt


async def test_resets_and_closed_connections_are_failures() -> None:
    """W7."""

    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def lie(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")

    async def babble(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")

    async with Receiver() as receiver:
        for script in (hang_up, lie, babble):
            receiver.then_do(script)
            outcome = await send(receiver.url)
            assert (outcome.status, outcome.kind) == (None, "failed")
            assert outcome.error.startswith("the connection failed")


async def test_a_reset_while_the_answer_comes_is_a_failure() -> None:
    """W7."""

    async def begin(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        await writer.drain()
        await asyncio.sleep(60)

    async with Receiver() as receiver, FaultProxy("127.0.0.1", receiver.port) as proxy:
        receiver.then_do(begin)
        attempt = asyncio.create_task(send(f"http://127.0.0.1:{proxy.port}/"))
        await receiver.until(1)
        await proxy.cut()
        outcome = await attempt

        assert (outcome.status, outcome.kind) == (None, "failed")


async def test_nobody_listening_and_no_such_name_are_failures_that_are_repeated() -> None:
    """W7."""
    [port] = free_ports(1)

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    closed = await send(f"http://127.0.0.1:{port}/")
    nameless = await send("https://hooks.example/", resolve=unknown)

    assert (closed.kind, closed.address) == ("failed", "127.0.0.1")
    assert (nameless.kind, nameless.error) == ("failed", "the name could not be resolved")


async def test_a_resolver_that_hangs_counts_as_connecting() -> None:
    """W5: 5 s to find and reach the receiver."""

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return ["8.8.8.8"]

    assert (await send("https://hooks.example/", QUICK, hang)).error == "not reached in time"


async def test_name_servers_that_never_answer_hold_no_thread_that_others_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """W5: a lookup cannot be stopped, and files of the same process are written in threads as well."""
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(60)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with contextlib.closing(Names()) as names:
            sends = [Sender(QUICK, names).send("https://hooks.example/", {}, b"{}") for _ in range(THREADS + 8)]
            outcomes = await asyncio.gather(*sends)
            async with asyncio.timeout(30):
                assert await asyncio.to_thread(threading.active_count)
    finally:
        over.set()

    assert {outcome.error for outcome in outcomes} == {"not reached in time"}


@contextlib.contextmanager
def swallowing(address: str, port: int) -> Iterator[None]:
    """Nobody there takes connections: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((address, port))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


async def test_an_address_that_swallows_everything_leaves_time_for_the_others() -> None:
    """W4a, W5."""
    settings = WebhooksSettings(allowed_networks=("127.0.0.0/8",), connect_timeout=2)
    async with Receiver() as receiver:
        url = f"http://hooks.example:{receiver.port}/"
        with swallowing("127.0.0.2", receiver.port):
            alone = await send(url, QUICK, answering("127.0.0.2"))
            outcome = await send(url, settings, answering("127.0.0.2", "127.0.0.1"))

        assert alone.error == "not reached in time"
        assert (outcome.status, outcome.address) == (200, "127.0.0.1")


async def test_another_address_of_the_name_is_tried() -> None:
    """W4a: all are checked, the first that answers is used."""
    async with Receiver() as receiver:
        outcome = await send(f"http://hooks.example:{receiver.port}/", resolve=answering("127.0.0.2", "127.0.0.1"))

        assert (outcome.status, outcome.address) == (200, "127.0.0.1")


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server whose certificate is for `name`, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    client = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    return server, client


async def test_tls_uses_the_name_and_not_the_address(tmp_path: Path) -> None:
    """W4a: SNI and the certificate are those of the original name."""
    server, client = certified(tmp_path, "hooks.example")
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    async with Receiver(ssl=server) as receiver:
        sender = Sender(OPEN, answering("127.0.0.1"), client)
        good = await sender.send(f"https://hooks.example:{receiver.port}/", {}, b"{}")
        other = await sender.send(f"https://other.example:{receiver.port}/", {}, b"{}")
        untrusted = await send(f"https://hooks.example:{receiver.port}/", resolve=answering("127.0.0.1"))

        assert (good.status, asked[0]) == (200, "hooks.example")
        assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"
        assert (other.kind, untrusted.kind) == ("failed", "failed")
        assert len(receiver.requests) == 1
