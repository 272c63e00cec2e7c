"""Under which keys a response is stored: requests that mean the same share one, all others never do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from orion_plugins.gateway.client import Headers

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def primary_key(scope: Any, method: str, person: str = "") -> str:
    """The key of `method` on the target of `scope`, for everybody or for one `person`.

    Scheme and Host are part of it, so that what an upstream made of a forged Host is shown to nobody else.
    """
    headers: Headers = scope["headers"]
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    return _digest(
        method.encode(),
        scope["scheme"].encode(),
        next((value.lower() for name, value in headers if name == b"host"), b""),
        normal(path.split(b"?", 1)[0]),
        normal_query(scope.get("query_string", b"")),
        codings(headers).encode(),
        person.encode(),
    )


def variant_key(primary: str, names: Sequence[str], headers: Headers) -> str:
    """The key of the variant that the request fields `names` select (RFC 9111, section 4.1)."""
    values = []
    for name in names:
        found = [value.strip() for key, value in headers if key == name.encode("latin-1")]
        # A field that is not there differs from one that is empty.
        values.append(b",".join(found) if found else b"\x00")
    return _digest(primary.encode(), *(name.encode("latin-1") for name in names), *values)


def normal(part: bytes) -> bytes:
    """`part` of a URL in its normal spelling (RFC 3986, section 6.2.2): what needs no escape has none."""

    def spell(match: re.Match[bytes]) -> bytes:
        byte = int(match[1], 16)
        return bytes((byte,)) if byte in _UNRESERVED else b"%" + match[1].upper()

    return _ESCAPE.sub(spell, part)


def normal_query(query: bytes) -> bytes:
    """`query` with its parameters in the order of their names; those of one name keep theirs."""
    parameters = [normal(each) for each in query.split(b"&") if each]
    parameters.sort(key=_name)
    return b"&".join(parameters)


def _name(parameter: bytes) -> bytes:
    return parameter.partition(b"=")[0]


def codings(headers: Headers) -> str:
    """The content codings a client takes, in one order: ``br,gzip`` for whatever browsers write, empty without any word
    about them."""
    values = [value for name, value in headers if name == b"accept-encoding"]
    taken = set()
    for part in b",".join(values).decode("latin-1").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip():
            taken.add(f"-{coding.strip()}" if _REFUSED.fullmatch(weight) else coding.strip())
    return ",".join(sorted(taken)) or ("identity" if values else "")


def _digest(*parts: bytes) -> str:
    # Each part with its length: no two lists of parts look alike.
    whole = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hashlib.sha256(whole).hexdigest()[:48]
