"""The one converter between values and JSON, for calls, events and jobs.

Strict: ``"5"`` is no number and 1.7 no whole number. Unknown keys are ignored, so a contract may grow. What does not
fit raises `Invalid` with a path for every field.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from uuid import UUID

from cattrs import transform_error
from cattrs.errors import BaseValidationError
from cattrs.preconf.json import JsonConverter, make_converter

from orion_core.errors import FieldError, Invalid, Malformed
from orion_core.json_value import Json
from orion_core.values import describe

T = TypeVar("T")


def _strict(kind: type, accepts: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def structure(given: Any, _: Any) -> Any:
        if not isinstance(given, accepts) or (isinstance(given, bool) and kind is not bool):
            raise ValueError(f"must be {describe(kind)}")
        return given

    return structure


def _null(given: Any, _: Any) -> None:
    if given is not None:
        raise ValueError("must be null")


def _uuid(given: Any, _: Any) -> UUID:
    if isinstance(given, str):
        try:
            return UUID(given)
        except ValueError:
            pass
    raise ValueError("must be a UUID")


def _time(given: Any, _: Any) -> datetime:
    if isinstance(given, str):
        try:
            found = datetime.fromisoformat(given)
        except ValueError:
            pass
        else:
            if found.tzinfo is not None:
                return found
    raise ValueError(f"must be {describe(datetime)}")


def _decimal(given: Any, _: Any) -> Decimal:
    if isinstance(given, str):
        try:
            return Decimal(given)
        except InvalidOperation:
            pass
    raise ValueError("must be a decimal number as text")


def _converter() -> JsonConverter:
    converter = make_converter()
    for kind, accepts in ((str, (str,)), (int, (int,)), (float, (int, float)), (bool, (bool,))):
        converter.register_structure_hook(kind, _strict(kind, accepts))
    converter.register_structure_hook(type(None), _null)
    converter.register_structure_hook(Json, lambda given, _: Json.of(given))
    converter.register_unstructure_hook(Json, Json.plain)
    converter.register_structure_hook(UUID, _uuid)
    converter.register_unstructure_hook(UUID, str)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(Decimal, _decimal)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(timedelta, lambda given, _: timedelta(seconds=given))
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    return converter


_CONVERTER = _converter()


def to_plain(given: Any, kind: Any = None) -> Any:
    """`given` as what JSON knows: dicts, lists, text, numbers, booleans and None."""
    return _CONVERTER.unstructure(given, unstructure_as=kind)


def from_plain(plain: Any, kind: type[T]) -> T:
    """A `kind` made of `plain`; raises `Invalid` that names every field that does not fit."""
    try:
        return _CONVERTER.structure(plain, kind)
    except Invalid:
        raise
    except BaseValidationError as error:
        raise _invalid(error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid(str(error), errors=[FieldError("", "type", str(error))]) from error


def dumps(given: Any, kind: Any = None) -> str:
    """`given` as JSON text."""
    return json.dumps(to_plain(given, kind), ensure_ascii=False, separators=(",", ":"))


def loads(text: str | bytes, kind: type[T]) -> T:
    """A `kind` read from JSON `text`; raises `Malformed` for what is no JSON and `Invalid` for what does not fit."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    return from_plain(plain, kind)


def _message(error: BaseException, _: Any) -> str:
    if isinstance(error, Invalid) and error.errors:
        return error.errors[0].detail
    if isinstance(error, KeyError):
        return "is missing"
    return str(error)


def _invalid(error: BaseValidationError) -> Invalid:
    found = []
    for line in transform_error(error, format_exception=_message):
        detail, _, path = line.rpartition(" @ ")
        field = path.removeprefix("$").lstrip(".").replace("[", ".").replace("]", "").strip("'")
        code = "missing" if detail == "is missing" else "type"
        # A field's own validator fails while its class is made, so its path ends at the class.
        nested = _validator_error(error, detail)
        if nested is not None:
            field = f"{field}.{nested.field}" if field else nested.field
            code = nested.code
        found.append(FieldError(field, code, detail))
    return Invalid("; ".join(f"{item.field}: {item.detail}" for item in found), errors=found)


def _validator_error(error: BaseException, detail: str) -> FieldError | None:
    if isinstance(error, Invalid) and error.errors and error.errors[0].detail == detail:
        return error.errors[0]
    for nested in getattr(error, "exceptions", ()):
        if found := _validator_error(nested, detail):
            return found
    return None
