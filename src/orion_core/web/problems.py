"""Whatever goes wrong inside a route becomes application/problem+json (RFC 9457) that names the field and the fix."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, SerializationException, ValidationException

from orion_core.errors import (
    CATEGORIES,
    Error,
    FieldError,
    Internal,
    Invalid,
    Malformed,
    NotFound,
    TooLarge,
)
from orion_core.web.asgi import PROBLEM, closing, problem_document, problem_headers

log = logging.getLogger("orion.web")

_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$?\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_CATEGORY = {category.status: category for category in CATEGORIES}
_BODY = "data"
"""What Litestar calls the body of a request."""
_LEFT = "client disconnected prematurely"
"""What Litestar says, as an internal error, of a body that breaks off."""
_LIMITS = {"<=": "of at most", ">=": "of at least", "<": "below", ">": "above"}
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
    "uuid": "a UUID",
    "datetime": "a time (RFC 3339)",
}


class MethodNotAllowed(Error):
    """The path exists, the method does not; answers 405 with Allow."""

    status = 405
    title = "Method not allowed"
    code = "method_not_allowed"


class ClientGone(Error):
    """The client left before its request was whole; nobody reads the answer."""

    status = 499
    title = "Client gone"
    code = "client_gone"


def handlers() -> dict[Any, Any]:
    """Litestar's exception handlers."""
    # The body is the only text that routes decode, so bytes that are no UTF-8 are the client's.
    return {
        Error: _known,
        HTTPException: _http,
        SerializationException: _http,
        UnicodeDecodeError: _http,
        RecursionError: _deep,
        Exception: _unknown,
    }


def respond(request: Request[Any, Any, Any], error: Error, headers: dict[str, str] | None = None) -> Response[Any]:
    """The response for `error`."""
    return Response(
        problem_document(error, request.scope["path"]),
        status_code=error.status,
        media_type=PROBLEM,
        headers={**problem_headers(error), **closing(request.scope, error), **(headers or {})},
    )


def _known(request: Request[Any, Any, Any], error: Error) -> Response[Any]:
    return respond(request, error)


def _unknown(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return respond(request, Internal("something went wrong on our side"))


def _deep(request: Request[Any, Any, Any], error: RecursionError) -> Response[Any]:
    # msgspec refuses what is nested too deeply by an error that Litestar passes on; any other one is ours.
    if "while deserializing" in str(error):
        return respond(request, Malformed("the body is nested too deeply"))
    return _unknown(request, error)


def _http(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    cause = _find(error, (Invalid, msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError))
    if isinstance(cause, Invalid):
        return respond(request, cause)
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        return respond(request, _invalid(error.extra))
    if isinstance(cause, msgspec.ValidationError):
        return respond(request, invalid_body(str(cause)))
    if isinstance(cause, (msgspec.DecodeError, UnicodeDecodeError)):
        return respond(request, Malformed(f"the body is not JSON: {cause}"))
    if isinstance(error, MethodNotAllowedException):
        allowed = {name.lower(): text for name, text in (error.headers or {}).items()}
        allow = {"allow": _with_head(allowed.get("allow", ""))}
        return respond(request, MethodNotAllowed(f"{request.method} is not possible here"), allow)
    status = getattr(error, "status_code", 500)
    if status == 404:
        return respond(request, NotFound("there is nothing at this path"))
    if status == 413:
        return respond(request, TooLarge("the body is larger than this route takes"))
    if getattr(error, "detail", "") == _LEFT:
        return respond(request, ClientGone("the client left before its request was whole"))
    if status >= 500:
        return _unknown(request, error)
    kind = _CATEGORY.get(status, Malformed)
    return respond(request, kind(str(getattr(error, "detail", "")) or kind.title.lower()))


def _with_head(allow: str) -> str:
    methods = [method.strip() for method in allow.split(",") if method.strip()]
    return ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))


def _find(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The most telling exception behind `error`: an `Invalid` of a validator beats the decoder's wrapping of it."""
    found = None
    while error is not None:
        if isinstance(error, Invalid):
            return error
        if found is None and isinstance(error, kinds):
            found = error
        error = error.__cause__ or error.__context__
    return found


def invalid_body(message: str) -> Invalid:
    """The decoder's `message` about a body as an `Invalid` that names the field."""
    match = _AT.match(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    if missing := _MISSING.search(what):
        return _one(f"{path}.{missing['field']}" if path else missing["field"], "missing", "is missing")
    return _one(path, "type", _words(what))


def _words(what: str) -> str:
    expected = re.match(r"Expected `([^`]+)`(?P<rest>.*)", what, re.DOTALL)
    if not expected:
        return what[:1].lower() + what[1:]
    wanted = " or ".join(_WORDS.get(part.strip(), part.strip()) for part in expected[1].split("|"))
    limit = re.match(r" ([<>]=?) (\S+)", expected["rest"])
    return f"must be {wanted}" + (f" {_LIMITS[limit[1]]} {limit[2]}" if limit else "")


def _invalid(extra: Sequence[Any]) -> Invalid:
    """What Litestar says about parameters and body as one `Invalid`; a query that cannot be read is `Malformed`."""
    found = []
    readable = True
    for item in extra:
        if not isinstance(item, dict):
            continue
        key, what = str(item.get("key", "")), str(item.get("message", ""))
        in_body = item.get("source") == "body"
        if in_body and what == repr(_BODY):
            return Malformed("the body is empty: send a JSON object")
        field = "" if in_body and key == _BODY else key
        if missing := _MISSING.search(what):
            field = f"{field}.{missing['field']}" if field else missing["field"]
            found.append(FieldError(field, "missing", "is missing"))
        else:
            found.append(FieldError(field, "type", _words(what)))
        readable = readable and (in_body or "got" not in what)
    detail = "; ".join(f"{item.field or 'the body'}: {item.detail}" for item in found)
    return (Invalid if readable else Malformed)(detail, errors=found)


def _one(field: str, code: str, detail: str) -> Invalid:
    return Invalid(f"{field or 'the body'}: {detail}", errors=[FieldError(field, code, detail)])
