"""Every error ORION raises on purpose.

::

    Exception
    ├── Error                      something a caller can act on; becomes application/problem+json
    │   ├── Invalid                422  well-formed input with a bad, missing or unknown field (also a ValueError)
    │   │   └── Malformed          400  input that cannot be parsed at all
    │   ├── Unauthenticated        401  no credentials, or credentials that do not count
    │   ├── Forbidden              403  known caller, not allowed
    │   ├── NotFound               404
    │   ├── Conflict               409  the state of things forbids it
    │   ├── PreconditionFailed     412  the caller's copy is stale
    │   ├── TooLarge               413
    │   ├── UnsupportedMedia       415
    │   ├── TooMany                429  ask again after `retry_after` seconds
    │   ├── Internal               500  a defect of ours; the detail says nothing about it
    │   └── Unavailable            503  may or may not have happened; ask again after `retry_after` seconds
    │       └── DeadlineExceeded   504  no answer in time; may or may not have happened
    ├── StartRefused               the platform cannot be composed; lists every problem and its fix
    └── CallInsideTransaction      a defect in a service: it called another service with a transaction open

Services subclass a category and give it a `code` (``auth.email_taken``). A message is a lower-case statement with no
full stop. The HTTP form is RFC 9457.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs


@attrs.frozen
class FieldError:
    """One thing wrong with one field of the input: a dotted path, a code, and what to do about it."""

    field: str
    code: str
    detail: str


class Error(Exception):
    """The root of all errors a caller can act on; raise one of its categories, or a subclass with a `code`."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"
    code: ClassVar[str] = "error"
    private: ClassVar[bool] = False
    """Whether the detail is for operators, since it may name hosts and files: callers of the service do not get it."""

    def __init__(
        self, detail: str = "", *, errors: Sequence[FieldError] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail or self.title.lower()
        self.errors = tuple(errors)
        self.retry_after = retry_after
        # An undeclared error reaches a caller as its category but keeps the code it was raised with.
        self.reported_code = self.code

    def __str__(self) -> str:
        return self.detail


class Invalid(Error, ValueError):
    """Well-formed input with a bad, missing or unknown field; answers 422."""

    status = 422
    title = "Invalid input"
    code = "invalid"


class Malformed(Invalid):
    """Input that cannot be parsed: JSON, a query string, a cursor; answers 400."""

    status = 400
    title = "Malformed input"
    code = "malformed"


class Unauthenticated(Error):
    """No credentials, or credentials that do not count; answers 401 with WWW-Authenticate."""

    status = 401
    title = "Unauthenticated"
    code = "unauthenticated"


class Forbidden(Error):
    """A known caller who may not do this; answers 403."""

    status = 403
    title = "Forbidden"
    code = "forbidden"


class NotFound(Error):
    """There is no such thing, or none that the caller may see; answers 404."""

    status = 404
    title = "Not found"
    code = "not_found"


class Conflict(Error):
    """The present state forbids it; answers 409."""

    status = 409
    title = "Conflict"
    code = "conflict"


class PreconditionFailed(Error):
    """The caller's copy is stale; answers 412."""

    status = 412
    title = "Precondition failed"
    code = "precondition_failed"


class TooLarge(Error):
    """More bytes than allowed; answers 413."""

    status = 413
    title = "Too large"
    code = "too_large"


class UnsupportedMedia(Error):
    """A content type that is not accepted here; answers 415."""

    status = 415
    title = "Unsupported media type"
    code = "unsupported_media"


class TooMany(Error):
    """Too many requests; answers 429 with Retry-After."""

    status = 429
    title = "Too many requests"
    code = "too_many"


class Internal(Error):
    """A defect of ours; answers 500 and says nothing about its cause."""

    status = 500
    title = "Internal error"
    code = "internal"


class Unavailable(Error):
    """Something needed is away; what was asked may or may not have happened; answers 503 with Retry-After."""

    status = 503
    title = "Unavailable"
    code = "unavailable"

    def __init__(self, detail: str = "", *, errors: Sequence[FieldError] = (), retry_after: float | None = 1.0) -> None:
        super().__init__(detail, errors=errors, retry_after=retry_after)


class DeadlineExceeded(Unavailable):
    """No answer in time; what was asked may or may not have happened; answers 504."""

    status = 504
    title = "Deadline exceeded"
    code = "deadline_exceeded"


class StartRefused(Exception):
    """The platform cannot be composed or opened as asked: `problems` lists all that is wrong, each with its fix."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class CallInsideTransaction(Exception):
    """A service called another one with a transaction open; call before or after it, or publish an event."""


CATEGORIES: tuple[type[Error], ...] = (
    Malformed,
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    PreconditionFailed,
    TooLarge,
    UnsupportedMedia,
    TooMany,
    Internal,
    DeadlineExceeded,
    Unavailable,
)
_BY_STATUS = {category.status: category for category in CATEGORIES}


def category(error: type[Error]) -> type[Error]:
    """The category that `error` belongs to: itself, or its nearest ancestor in the tree above."""
    return next((base for base in error.__mro__ if base in CATEGORIES), Internal)


def problem(error: Error) -> dict[str, Any]:
    """`error` as the members of an RFC 9457 problem document, without instance and request id."""
    document: dict[str, Any] = {
        "type": f"urn:orion:{error.reported_code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.reported_code,
    }
    if error.errors:
        document["errors"] = [attrs.asdict(item) for item in error.errors]
    if error.retry_after is not None:
        document["retry_after"] = error.retry_after
    return document


def revive(document: Mapping[str, Any], declared: Mapping[str, type[Error]]) -> Error:
    """The error that `problem` described: its own class if its code is `declared`, else its category, code kept."""
    code = str(document.get("code", ""))
    status, retry_after = document.get("status"), document.get("retry_after")
    kind = declared.get(code) or (_BY_STATUS.get(status, Internal) if isinstance(status, int) else Internal)
    errors = [
        FieldError(str(item.get("field", "")), str(item.get("code", "")), str(item.get("detail", "")))
        for item in document.get("errors", ())
    ]
    error = kind(
        str(document.get("detail", "")),
        errors=errors,
        retry_after=retry_after if isinstance(retry_after, (int, float)) else None,
    )
    if code:
        error.reported_code = code
    return error
