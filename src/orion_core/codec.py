"""The one converter between values and JSON, for calls, events and jobs.

Strict: ``"5"`` is no number and 1.7 no whole number. Unknown keys are ignored, so a contract may grow. What does not
fit raises `Invalid` with a path for every field.
"""

from __future__ import annotations

import enum
import json
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from uuid import UUID

import attrs
from cattrs import Converter, transform_error
from cattrs.cols import homogenous_tuple_structure_factory
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


def _date(given: Any, _: Any) -> date:
    if isinstance(given, str):
        try:
            return date.fromisoformat(given)
        except ValueError:
            pass
    raise ValueError(f"must be {describe(date)}")


def _duration(given: Any, _: Any) -> timedelta:
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        try:
            return timedelta(seconds=given)
        except (ValueError, OverflowError):
            pass
    raise ValueError("must be a duration in seconds")


def _one_of(kind: Any, choices: Mapping[Any, Any]) -> Callable[[Any, Any], Any]:
    def structure(given: Any, _: Any) -> Any:
        # true equals 1, and a list is no key.
        if isinstance(given, (str, int)) and given in choices and type(choices[given][0]) is type(given):
            return choices[given][1]
        raise ValueError(f"must be {describe(kind)}")

    return structure


def _literals(kind: Any, _: Any) -> Callable[[Any, Any], Any]:
    return _one_of(kind, {choice: (choice, choice) for choice in typing.get_args(kind)})


def _members(kind: type[enum.Enum], _: Any) -> Callable[[Any, Any], Any]:
    return _one_of(kind, {member.value: (member.value, member) for member in kind})


def _objects(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    fill = converter.gen_structure_attrs_fromdict(kind)

    def structure(given: Any, _: Any) -> Any:
        # cattrs takes whatever can be asked for a key, a list without any included.
        if not isinstance(given, dict):
            raise TypeError("must be an object")
        return fill(given, kind)

    return structure


def _tuples(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    args = typing.get_args(kind)
    any_length = len(args) == 2 and args[1] is Ellipsis
    fill = homogenous_tuple_structure_factory(kind, converter) if any_length else _fixed(args, converter)

    def structure(given: Any, _: Any) -> Any:
        # To cattrs a text is a list of letters, and an object a list of its keys.
        if not isinstance(given, (list, tuple)):
            raise TypeError("must be a list")
        return fill(given, kind)

    return structure


def _fixed(args: tuple[Any, ...], converter: Converter) -> Callable[[Any, Any], Any]:
    hooks = [converter.get_structure_hook(arg) for arg in args]

    def structure(given: Any, _: Any) -> Any:
        if len(given) != len(hooks):
            raise ValueError(f"must be a list of {len(hooks)}")
        return tuple(hook(item, arg) for hook, item, arg in zip(hooks, given, args, strict=True))

    return structure


def _is_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


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
    converter.register_structure_hook(date, _date)
    converter.register_structure_hook(timedelta, _duration)
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_structure_hook_factory(attrs.has, _objects)
    converter.register_structure_hook_factory(_is_tuple, _tuples)
    converter.register_structure_hook_factory(_is_literal, _literals)
    converter.register_structure_hook_factory(_is_enum, _members)
    return converter


_CONVERTER = _converter()
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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
    except Exception as error:
        raise Invalid(str(error), errors=[FieldError("", "type", str(error))]) from error


def dumps(given: Any, kind: Any = None) -> str:
    """`given` as JSON text."""
    return text(to_plain(given, kind))


def text(plain: Any) -> str:
    """What JSON knows as JSON text."""
    return _ENCODE(plain)


def loads(given: str | bytes, kind: type[T]) -> T:
    """A `kind` from the JSON text `given`; raises `Malformed` for what is no JSON, `Invalid` for a misfit."""
    try:
        plain = json.loads(given)
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
