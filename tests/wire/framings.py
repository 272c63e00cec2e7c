"""Requests that are refused by their form (G3) or their path (G4): the tables for every server and every topology."""

from __future__ import annotations

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def _length(value: bytes) -> bytes:
    return POST + b"Content-Length: " + value + b"\r\n\r\nhello"


def _coding(value: bytes) -> bytes:
    return POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"


def _start(line: bytes) -> bytes:
    return line + b"\r\nHost: x\r\n\r\n"


def _host(value: bytes) -> bytes:
    return b"GET /health/live HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


REFUSED: dict[str, tuple[int, bytes]] = {
    "length and coding": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "coding and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    "two lengths that agree": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "two lengths that differ": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "length +5": (400, _length(b"+5")),
    "length -5": (400, _length(b"-5")),
    "length 0x5": (400, _length(b"0x5")),
    "length 1_0": (400, _length(b"1_0")),
    "length 5,5": (400, _length(b"5,5")),
    "length 5 5": (400, _length(b"5 5")),
    "length empty": (400, _length(b"")),
    "length beyond 64 bits": (400, _length(b"9" * 23)),
    "coding gzip": (400, _coding(b"gzip")),
    "coding gzip, chunked": (400, _coding(b"gzip, chunked")),
    "coding chunked, chunked": (400, _coding(b"chunked, chunked")),
    "coding twice": (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "coding xchunked": (400, _coding(b"xchunked")),
    "coding identity": (400, _coding(b"identity")),
    "coding after a vertical tab": (400, _coding(b"\x0bchunked")),
    "coding before a tab": (400, _coding(b"chunked\t")),
    "coding empty": (400, _coding(b"")),
    "coding in quotes": (400, _coding(b'"chunked"')),
    "coding in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunk size 0x5": (400, CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk size +5": (400, CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk size -5": (400, CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": (400, CHUNKED + b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n"),
    "chunk size before a bare LF": (400, CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    "chunk without its end": (400, CHUNKED + b"5\r\nhelloX0\r\n\r\n"),
    "chunk extension with a bare LF": (400, CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "space before the colon": (400, GET + b"A : b\r\n\r\n"),
    "folded by a space": (400, GET + b"A: b\r\n c\r\n\r\n"),
    "folded by a tab": (400, GET + b"A: b\r\n\tc\r\n\r\n"),
    "space before the first field": (400, b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    "bare LF after the start": (400, b"GET / HTTP/1.1\nHost: x\r\n\r\n"),
    "bare LF after a field": (400, GET + b"A: b\n\r\n"),
    "bare LF at the end": (400, GET + b"A: b\r\n\n"),
    "NUL in a value": (400, GET + b"A: b\0c\r\n\r\n"),
    "NUL in a name": (400, GET + b"A\0: b\r\n\r\n"),
    "CR in a value": (400, GET + b"A: b\rc\r\n\r\n"),
    "CR before the end of a line": (400, GET + b"A: b\r\r\n\r\n"),
    "control character in a value": (400, GET + b"A: b\x01c\r\n\r\n"),
    "field without a name": (400, GET + b": b\r\n\r\n"),
    "field without a colon": (400, GET + b"Abc\r\n\r\n"),
    "field name beyond ASCII": (400, GET + b"\xc3\xa9: b\r\n\r\n"),
    "no host": (400, b"GET /health/live HTTP/1.1\r\n\r\n"),
    "no host in HTTP/1.0": (400, b"GET /health/live HTTP/1.0\r\n\r\n"),
    "two hosts": (400, GET + b"Host: y\r\n\r\n"),
    "two hosts that agree": (400, GET + b"host: x\r\n\r\n"),
    "host empty": (400, _host(b"")),
    "host with a path": (400, _host(b"x/docs?")),
    "host with a space": (400, _host(b"x y")),
    "host with a user": (400, _host(b"a@x")),
    "host as a list": (400, _host(b"x, y/z")),
    "host with a port that is none": (400, _host(b"x:y")),
    "version 1.32": (400, _start(b"GET / HTTP/1.32")),
    "version 1.2": (400, _start(b"GET / HTTP/1.2")),
    "version 2.0": (400, _start(b"GET / HTTP/2.0")),
    "version 0.9": (400, _start(b"GET / HTTP/0.9")),
    "version 1": (400, _start(b"GET / HTTP/1")),
    "version in lower case": (400, _start(b"GET / http/1.1")),
    "version +1.1": (400, _start(b"GET / HTTP/+1.1")),
    "no version": (400, _start(b"GET /")),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TRACE": (405, _start(b"TRACE / HTTP/1.1")),
    "CONNECT": (405, b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"),
    "CONNECT as an upgrade": (
        405,
        b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    "PROPFIND": (405, _start(b"PROPFIND / HTTP/1.1")),
    "a method of ones own": (400, _start(b"FETCH / HTTP/1.1")),
    "method in lower case": (400, _start(b"get / HTTP/1.1")),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "target with a space": (400, _start(b"GET /a b HTTP/1.1")),
    "target with a fragment": (400, _start(b"GET /a#b HTTP/1.1")),
    "target beyond ASCII": (400, _start(b"GET /\xc3\xa9 HTTP/1.1")),
    "target with a control character": (400, _start(b"GET /a\x01 HTTP/1.1")),
    "target without a slash": (400, _start(b"GET a HTTP/1.1")),
    "target *": (400, _start(b"OPTIONS * HTTP/1.1")),
    "target of another host": (400, _start(b"GET http://y/ HTTP/1.1")),
    "target of another scheme": (400, _start(b"GET ftp://x/ HTTP/1.1")),
    "target of 8 KB and a byte": (414, _start(b"GET /" + b"a" * 8192 + b" HTTP/1.1")),
    "target of a megabyte": (414, _start(b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1")),
    "101 fields": (431, GET + b"A: b\r\n" * 100 + b"\r\n"),
    "fields of 16 KB together": (431, GET + (b"A: " + b"b" * 995 + b"\r\n") * 17 + b"\r\n"),
    "one field of 16 KB": (431, GET + b"A: " + b"b" * 16384 + b"\r\n\r\n"),
    "a field that never ends": (431, GET + b"A: " + b"b" * 200_000),
    "a name that never ends": (431, GET + b"a" * 200_000),
    "a trailer of 17 KB": (431, CHUNKED + b"0\r\n" + (b"A: " + b"b" * 995 + b"\r\n") * 17 + b"\r\n"),
}

TAKEN: dict[str, bytes] = {
    "plain": GET + b"\r\n",
    "HTTP/1.0": b"GET /health/live HTTP/1.0\r\nHost: x\r\n\r\n",
    "empty lines first": b"\r\n\r\n" + GET + b"\r\n",
    "the URL of the host": b"GET http://X/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "an address with a port": b"GET /health/live HTTP/1.1\r\nHost: [::1]:3000\r\n\r\n",
    "100 fields": GET + b"A: b\r\n" * 99 + b"\r\n",
    "a target of 8 KB": b"GET /health/live?" + b"a" * (8192 - 13) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "an upgrade that nobody offers": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
}
"""Requests at the border that are answered with 200."""

SPELLINGS = [
    b"//api/v1/auth/me",
    b"/api//v1/auth/me",
    b"/api/v1/auth/me/",
    b"/api/v1/auth/me//",
    b"/api/v1/auth/me%2f",
    b"/api/v1/auth%2Fme",
    b"/api/v1/auth%5cme",
    b"/api/v1/auth/./me",
    b"/api/v1/users/../auth/me",
    b"/api/v1/users/%2e%2e/auth/me",
    b"/api/v1/users/..%2fauth/me",
    b"/api/v1/users/..;/auth/me",
    b"/api/v1/users/%c0%ae%c0%ae/auth/me",
    b"/api/v1/auth/me%00",
    b"/api/v1/auth/me%00.css",
    b"/api/v1/auth/me.css",
    b"/api/v1/auth/me/x.css",
    b"/api/v1/auth/me;x.css",
    b"/api/v1/auth/%6de%0a",
    b"/api/v1/auth/me%",
    b"/API/v1/auth/me",
]
"""Second spellings of ``/api/v1/auth/me``, and names under which a cache would keep what is there (G4, G71)."""
