"""What a shared cache may store and use again (RFC 9111): pure functions on header fields, names in lower case."""

from __future__ import annotations

import email.utils
import functools
import types
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from orion_plugins.gateway.client import Headers

Directives = Mapping[str, str]
Verdict = Literal["fresh", "revalidate", "validate"]
"""Use it; use it and validate it afterwards; validate it before it is used."""

STORABLE: Final = frozenset({200, 203, 204, 300, 301, 302, 307, 308, 404, 410})
"""Final statuses whose meaning this cache understands (section 3); 206 is not among them (section 3.3)."""
_MOST: Final = 2**31  # section 1.2.2
_NOT_STORED: Final = frozenset(
    {b"age", b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-connection"}
    | {b"te", b"transfer-encoding", b"trailer", b"upgrade", b"x-request-id"}
)
_NOT_UPDATED: Final = frozenset({b"content-encoding", b"content-length", b"content-range", b"content-type"})


def fields(headers: Headers, name: bytes) -> list[bytes]:
    """The values of all fields called `name`."""
    return [value for key, value in headers if key == name]


def first(headers: Headers, name: bytes) -> bytes:
    """The value of the first field called `name`, or nothing."""
    return next((value for key, value in headers if key == name), b"")


def directives(headers: Headers) -> Directives:
    """The Cache-Control directives (section 5.2), names in lower case, quotes removed.

    One that is given twice with different arguments has none that counts (section 4.2.1).
    """
    found = _directives(b",".join(fields(headers, b"cache-control")))
    if not found and b"no-cache" in first(headers, b"pragma").lower():
        return {"no-cache": ""}  # section 5.4
    return found


@functools.lru_cache(maxsize=1024)
def _directives(text: bytes) -> Directives:
    # The same few lines come again and again, and nobody changes what is given out.
    found: dict[str, str] = {}
    for part in _listed(text.decode("latin-1")):
        name, _, argument = part.partition("=")
        name, argument = name.strip().lower(), argument.strip().strip('"')
        found[name] = "" if name in found and found[name] != argument else argument
    return types.MappingProxyType(found)


def seconds(given: Directives, name: str) -> int | None:
    """The argument of the directive `name`: None without it, 0 for one that is no number (section 4.2.1)."""
    text = given.get(name)
    if text is None:
        return None
    return min(int(text), _MOST) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def lifetime(headers: Headers, now: float) -> float | None:
    """For how many seconds a response is fresh (section 4.2.1): s-maxage, else max-age, else Expires, else None.

    There is no heuristic: who says nothing is not stored.
    """
    given = directives(headers)
    for name in ("s-maxage", "max-age"):
        if (found := seconds(given, name)) is not None:
            return found
    expires = fields(headers, b"expires")
    if not expires:
        return None
    until = _time(expires[0])
    return 0.0 if until is None or len(expires) > 1 else max(0.0, until - (_time(first(headers, b"date")) or now))


def initial_age(headers: Headers, asked: float, now: float) -> float:
    """How old a response was when it arrived (section 4.2.3), in seconds; `asked` is when its request was sent."""
    date = _time(first(headers, b"date"))
    apparent = max(0.0, now - date) if date is not None else 0.0
    text = first(headers, b"age").split(b",")[0].strip()
    age = min(int(text), _MOST) if text.isdigit() and len(text) < 20 else 0
    return max(apparent, age + max(0.0, now - asked))


def storable(
    status: int, headers: Headers, request: Directives, *, credentials: bool, private: bool, now: float
) -> bool:
    """Whether the answer to a GET or HEAD may be stored (section 3).

    `credentials` says that the request had Authorization or Cookie (section 3.5), `private` that what is stored will be
    found by nobody but the same person. Set-Cookie is never stored, although section 7.3 would allow it.
    """
    given = directives(headers)
    if status not in STORABLE or "no-store" in given or "no-store" in request:
        return False
    if "private" in given and not private:
        return False
    if credentials and not private and not for_credentials(headers):
        return False
    names = {name for name, _ in headers}
    if b"set-cookie" in names or b"set-cookie2" in names or b"content-range" in names or varies_always(headers):
        return False
    fresh = lifetime(headers, now)
    if fresh is None:
        return False
    return (fresh > 0 and "no-cache" not in given) or bool({b"etag", b"last-modified"} & names)


def for_credentials(headers: Headers) -> bool:
    """Whether requests with Authorization or Cookie share the answer with others (section 3.5)."""
    return bool({"public", "s-maxage", "must-revalidate"} & directives(headers).keys())


def verdict(headers: Headers, age: float, request: Directives, now: float) -> Verdict:
    """What may be done with a stored response that is `age` seconds old (sections 4 and 5.2)."""
    given = directives(headers)
    left = (lifetime(headers, now) or 0.0) - age
    most = seconds(request, "max-age")
    if "no-cache" in given or "no-cache" in request or (most is not None and age > most):
        return "validate"
    if left > 0 and left >= (seconds(request, "min-fresh") or 0):
        return "fresh"
    if left > 0 or not stale_allowed(given):
        return "validate"
    if "max-stale" in request and (request["max-stale"] == "" or -left <= (seconds(request, "max-stale") or 0)):
        return "fresh"
    return "revalidate" if -left < (seconds(given, "stale-while-revalidate") or 0) else "validate"


def stale_allowed(given: Directives) -> bool:
    """Whether a stale response may be used at all without asking (section 4.2.4)."""
    return not {"no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"} & given.keys()


def usable_on_error(headers: Headers, age: float, otherwise: float, now: float) -> bool:
    """Whether a stored response stands in for an answer 5xx (RFC 5861, section 4).

    `otherwise` are the seconds past its lifetime for which one may that does not say stale-if-error.
    """
    given = directives(headers)
    grace = seconds(given, "stale-if-error")
    over = age - (lifetime(headers, now) or 0.0)
    return stale_allowed(given) and over < (otherwise if grace is None else grace)


def keep(headers: Headers, age: float, otherwise: float, longest: float, now: float) -> float:
    """For how many seconds it is worth keeping a response that is `age` seconds old, at most `longest`."""
    given = directives(headers)
    grace = max(
        seconds(given, "stale-while-revalidate") or 0,
        otherwise if (found := seconds(given, "stale-if-error")) is None else found,
        3600 if validators(headers) else 0,
    )
    return min((lifetime(headers, now) or 0.0) - age + grace, longest)


def validators(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The fields that make a request conditional on a stored response (section 4.3.1)."""
    named = {b"etag": b"if-none-match", b"last-modified": b"if-modified-since"}
    return [(asking, value) for name, asking in named.items() if (value := first(headers, name))]


def not_modified(stored: Headers, condition: Headers) -> bool:
    """Whether the fields `condition` of a request answer 304 against `stored` (section 4.3.2)."""
    tags = fields(condition, b"if-none-match")
    if tags:
        listed = [tag.strip() for tag in b",".join(tags).split(b",")]
        own = _opaque(first(stored, b"etag"))
        return b"*" in listed or (bool(own) and own in map(_opaque, listed))
    since, changed = _time(first(condition, b"if-modified-since")), _time(first(stored, b"last-modified"))
    return since is not None and changed is not None and changed <= since


def freshens(stored: Headers, validated: Headers) -> bool:
    """Whether a 304 with the fields `validated` speaks of the `stored` response (section 4.3.4)."""
    for name in (b"etag", b"last-modified"):
        if theirs := first(validated, name):
            return _opaque(theirs) == _opaque(first(stored, name))
    return True


def freshened(stored: Headers, validated: Headers) -> list[tuple[bytes, bytes]]:
    """The fields of a `stored` response after a 304 (sections 3.2 and 4.3.4)."""
    new = [field for field in to_store(validated) if field[0] not in _NOT_UPDATED]
    names = {name for name, _ in new}
    return [field for field in stored if field[0] not in names] + new


def to_store(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The fields of a response that are stored with it (section 3.1)."""
    named = {token.strip().lower() for value in fields(headers, b"connection") for token in value.split(b",")}
    return [field for field in headers if field[0] not in _NOT_STORED and field[0] not in named]


def vary(headers: Headers) -> tuple[str, ...]:
    """The request fields that Vary names (section 4.1), sorted; Accept-Encoding is part of every key anyway."""
    listed = b",".join(fields(headers, b"vary")).decode("latin-1").lower().split(",")
    return tuple(sorted({name.strip() for name in listed} - {"", "accept-encoding"}))


def varies_always(headers: Headers) -> bool:
    """Whether no other request may be answered by this response (section 4.1)."""
    return "*" in vary(headers)


def tags(headers: Headers) -> tuple[str, ...]:
    """The surrogate keys of a response: Cache-Tag with commas, Surrogate-Key with spaces; 64 at the most."""
    listed = [tag.strip() for value in fields(headers, b"cache-tag") for tag in value.decode("latin-1").split(",")]
    listed += [tag for value in fields(headers, b"surrogate-key") for tag in value.decode("latin-1").split()]
    return tuple(dict.fromkeys(tag for tag in listed if tag))[:64]


def _opaque(tag: bytes) -> bytes:
    # Weak comparison (RFC 9110, 8.8.3.2): a tag sent with an encoding counts as its weak form.
    return tag.strip().removeprefix(b"W/")


def _time(text: bytes) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text.decode("ascii")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _listed(text: str) -> Sequence[str]:
    """The members of a list, commas within quotes not counted."""
    parts, quoted = [""], False
    for letter in text:
        quoted ^= letter == '"'
        if letter == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in map(str.strip, parts) if part]
