"""`@value`: a frozen class that may cross a contract.

A value is checked when it is made, in every reach alike: each field must be what its annotation says, then its own
validators run. It holds only what cannot change: text, numbers, times, ids, bytes, enums, other values, and tuples of
these. A caller and a service can therefore share one without being able to disturb each other.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeVar, dataclass_transform
from uuid import UUID

import attrs

from orion_core.errors import FieldError, Invalid
from orion_core.json_value import Json

T = TypeVar("T")

_NAMES: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    bytes: "bytes",
    UUID: "a UUID",
    datetime: "a time with a time zone, as RFC 3339",
    date: "a date",
    timedelta: "a duration",
    Decimal: "a decimal number",
    Json: "a JSON value",
    type(None): "null",
}
SCALARS = tuple(_NAMES)
Check = Callable[[Any], bool]


def invalid(field: str, code: str, detail: str) -> Invalid:
    """An `Invalid` about one field."""
    return Invalid(f"{field}: {detail}", errors=[FieldError(field, code, detail)])


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, attrs.Factory))
def value(cls: type[T]) -> type[T]:
    """Make `cls` a frozen attrs class whose fields are checked against their annotations."""
    return attrs.frozen(cls, field_transformer=_typed)


def must_be_async(method: Callable[..., Any], what: str) -> None:
    """Raise TypeError unless `method` is an async function: only such a one can be `what`."""
    if not inspect.iscoroutinefunction(method):
        raise TypeError(f"{method.__qualname__} must be async to be {what}")


def is_value(kind: Any) -> bool:
    """Whether `kind` is a class made by `@value`."""
    return isinstance(kind, type) and attrs.has(kind) and kind.__setattr__ is not object.__setattr__


def _typed(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    def with_check(field: attrs.Attribute[Any]) -> attrs.Attribute[Any]:
        if field.validator is None:
            return field.evolve(validator=_check_type)
        return field.evolve(validator=attrs.validators.and_(_check_type, field.validator))

    return [with_check(field) for field in fields]


_checks: dict[type, dict[str, tuple[Check, Any]]] = {}


def _check_type(instance: Any, attribute: attrs.Attribute[Any], given: Any) -> None:
    cls = type(instance)
    known = _checks.get(cls)
    if known is None:
        # Annotations are read on first use: by then every name in them can be resolved.
        hints = typing.get_type_hints(cls)
        known = _checks[cls] = {
            field.name: (type_check(hints[field.name]), hints[field.name]) for field in attrs.fields(cls)
        }
    check, hint = known[attribute.name]
    if not check(given):
        raise invalid(attribute.name, "type", f"must be {describe(hint)}")


def describe(hint: Any) -> str:
    """`hint` in words, for error messages."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin is tuple:
        return "a list of " + describe(args[0]) if args else "a list"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(str(member.value) for member in hint)
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def type_check(hint: Any) -> Check:
    """A predicate that says whether something is what `hint` allows; `bool` is no number, an `int` is a `float`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda given: True
    if origin is typing.Annotated:
        return type_check(args[0])
    if origin in (typing.Union, types.UnionType):
        options = [type_check(arg) for arg in args]
        return lambda given: any(option(given) for option in options)
    if origin is Literal:
        return lambda given: given in args
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            item = type_check(args[0])
            return lambda given: isinstance(given, tuple) and all(item(each) for each in given)
        items = [type_check(arg) for arg in args]
        return lambda given: (
            isinstance(given, tuple)
            and len(given) == len(items)
            and all(item(each) for item, each in zip(items, given, strict=True))
        )
    if hint is None:
        return lambda given: given is None
    if hint is int:
        return lambda given: isinstance(given, int) and not isinstance(given, bool)
    if hint is float:
        return lambda given: isinstance(given, (int, float)) and not isinstance(given, bool)
    if hint is datetime:
        return lambda given: isinstance(given, datetime) and given.tzinfo is not None
    if hint is date:
        return lambda given: isinstance(given, date) and not isinstance(given, datetime)
    if isinstance(hint, type):
        return lambda given: isinstance(given, hint)
    raise TypeError(f"{hint!r} cannot cross a contract: use text, numbers, times, ids, values, and tuples of these")


def mutable_parts(hint: Any, path: str = "") -> list[str]:
    """Every place in `hint` that could change after it was made, as paths; empty for what may cross a contract."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint in SCALARS or origin is Literal:
        return []
    if origin in (typing.Union, types.UnionType, tuple, typing.Annotated):
        parts = args[:1] if origin is typing.Annotated else [arg for arg in args if arg is not Ellipsis]
        return [found for part in parts for found in mutable_parts(part, path)]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return []
    if is_value(hint):
        hints = typing.get_type_hints(hint)
        return [
            found
            for field in attrs.fields(hint)
            for found in mutable_parts(
                hints[field.name], f"{path}.{field.name}" if path else f"{hint.__name__}.{field.name}"
            )
        ]
    return [f"{path or hint}: {describe(hint)}"]
