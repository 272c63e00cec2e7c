"""What holds for every contract, value, event and error of every plugin."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pytest

from orion_core import codec
from orion_core.composition import calls, order
from orion_core.contract import modules_of, operations
from orion_core.errors import CATEGORIES, Error
from orion_core.events import event_type, is_event
from orion_core.json_value import Json, dec_hook, enc_hook
from orion_core.plugin import Plugin, discover
from orion_core.values import is_value, mutable_parts

SNAPSHOT = Path(__file__).with_name("contracts.json")
PLUGINS = {name: plugin for name, plugin in discover().plugins.items() if plugin.service}
OWN = {name: plugin for name, plugin in PLUGINS.items() if plugin.service.__module__.startswith("orion_plugins.")}


def classes() -> Iterator[tuple[str, type]]:
    for name, plugin in OWN.items():
        assert plugin.contract is not None
        for module in modules_of(plugin.contract):
            for item in vars(sys.modules[module]).values():
                if isinstance(item, type) and item.__module__ == module:
                    yield name, item


VALUES = [cls for _, cls in classes() if is_value(cls)]
EVENTS = [cls for cls in VALUES if is_event(cls)]
ERRORS = [(name, cls) for name, cls in classes() if issubclass(cls, Error)]


def types_of(plugin: Plugin) -> Iterator[Any]:
    assert plugin.contract is not None
    for operation in operations(plugin.contract).values():
        yield from operation.parameters.values()
        if operation.result is not type(None):
            yield operation.result


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_values_are_immutable_all_the_way_down(cls: type) -> None:
    """Caller and service share values in one process: what can change would be shared by accident."""
    assert mutable_parts(cls) == []


@pytest.mark.parametrize("name", OWN)
def test_operations_take_and_give_only_what_cannot_change(name: str) -> None:
    """The same holds for plain parameters and results."""
    assert [part for kind in types_of(OWN[name]) for part in mutable_parts(kind)] == []


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_values_survive_both_codecs(cls: type) -> None:
    """Calls and events go through cattrs, the HTTP edge through msgspec: a value must mean the same in both."""
    made = sample(cls)

    assert codec.loads(codec.dumps(made), cls) == made
    edge = msgspec.json.encode(made, enc_hook=enc_hook)
    assert msgspec.json.decode(edge, type=cls, strict=False, dec_hook=dec_hook) == made


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_values_have_no_converters(cls: type) -> None:
    """The HTTP edge runs no converters, so a value made there would differ; services normalise instead."""
    assert [field.name for field in attrs.fields(cls) if field.converter is not None] == []


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.__name__)
def test_a_listener_written_for_an_event_accepts_added_fields(cls: type) -> None:
    """E7a: events grow by adding optional fields; what listeners know of keeps its meaning."""
    made = sample(cls)
    grown = {**json.loads(codec.dumps(made)), "added_later": {"anything": [1, 2]}}

    assert codec.loads(json.dumps(grown), cls) == made


@pytest.mark.parametrize(("name", "cls"), ERRORS, ids=lambda item: getattr(item, "__name__", item))
def test_errors_have_a_code_of_their_service_and_a_category(name: str, cls: type[Error]) -> None:
    """The code is what clients match on; the category is all that a caller who does not know it gets."""
    assert cls.code.startswith(f"{name}.")
    assert any(issubclass(cls, category) for category in CATEGORIES)
    assert cls.__doc__


def test_nobody_calls_in_a_circle() -> None:
    """Services that call each other in a circle can only be deployed and understood together."""
    assert set(order(PLUGINS)) == set(PLUGINS)


def test_only_the_agreed_calls_exist() -> None:
    """Everything else travels by events, so that a service works while others are away."""
    agreed = {
        ("auth", "notifications"),
        ("users", "storage"),
        ("search", "users"),
        ("analytics", "notifications"),
    }
    found = {(name, asked) for name, plugin in OWN.items() for asked in calls(plugin, PLUGINS)}

    assert {pair for pair in found if pair[0] != "admin"} <= agreed


def test_operations_events_and_queues_change_only_on_purpose() -> None:
    """Other processes and other releases rely on these names and types; a change has to show in the review.

    Write the file anew with: python tests/house/test_contracts.py
    """
    assert json.loads(SNAPSHOT.read_text()) == snapshot()


def snapshot() -> dict[str, Any]:
    """Everything on the wire between services, by plugin."""
    return {name: wire(plugin) for name, plugin in sorted(OWN.items())}


def wire(plugin: Plugin) -> dict[str, Any]:
    assert plugin.contract is not None
    modules = modules_of(plugin.contract)
    events = [cls for cls in EVENTS if cls.__module__ in modules]
    return {
        "operations": {
            name: {
                "takes": {key: show(kind) for key, kind in operation.parameters.items()},
                "gives": show(operation.result),
                "raises": sorted(error.code for error in operation.raises),
                "repeatable": operation.repeatable,
            }
            for name, operation in operations(plugin.contract).items()
        },
        "events": {f"{event_type(cls).name} v{event_type(cls).version}": fields(cls) for cls in events},
        "values": {cls.__name__: fields(cls) for cls in VALUES if cls not in events and cls.__module__ in modules},
        "queues": {listener.queue: sorted(listener.names) for listener in plugin.listeners if not listener.broadcast},
        "jobs": sorted(plugin.jobs),
    }


def fields(cls: type) -> dict[str, str]:
    hints = typing.get_type_hints(cls)
    return {field.name: show(hints[field.name]) for field in attrs.fields(cls)}


def show(kind: Any) -> str:
    return (
        kind.__name__
        if isinstance(kind, type) and not typing.get_args(kind)
        else str(kind).replace("orion_core.contracts.", "")
    )


SAMPLES: dict[Any, Any] = {
    str: "Ada",
    int: 7,
    float: 1.5,
    bool: True,
    bytes: b"ada",
    UUID: UUID(int=7),
    datetime: datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    date: date(2026, 1, 2),
    timedelta: timedelta(seconds=90),
    Decimal: Decimal("1.50"),
    type(None): None,
    Json: Json.of({"a": [1, {"b": None}], "é": "ü"}),
}
FITTING = {
    "email": "ada@example.org",
    "new_email": "ada@example.org",
    "recipient": "ada@example.org",
    "template": "welcome",
    "code": "123456",
    "password": "correct horse battery",
    "event_types": "user.registered",
    "name": "ada",
    "allowed_types": "image/*",
    "subject": "everybody",
    "permission": "invoices:read",
    "permissions": "invoices:read",
    "scopes": "invoices:read",
    "resource": "invoice:42",
    "resources": "invoice:42",
    "owned": "invoice:42",
    "role": "",
}


def sample(kind: Any, field: str = "") -> Any:
    """Something that `kind` allows."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is str and field in FITTING:
        return FITTING[field]
    if kind in SAMPLES:
        return SAMPLES[kind]
    if origin is tuple:
        return (sample(args[0], field),) if args[-1] is Ellipsis else tuple(map(sample, args))
    if origin is typing.Literal:
        return args[0]
    if args:
        return sample(args[0], field)
    hints = typing.get_type_hints(kind)
    return kind(**{each.name: sample(hints[each.name], each.name) for each in attrs.fields(kind)})


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(snapshot(), indent=2) + "\n")
