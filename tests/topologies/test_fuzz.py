"""The same input has the same outcome, code and shape, whether a service is reached locally or by wire."""

from __future__ import annotations

import random
import string
import types
import typing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

from orion_core.context import ANONYMOUS, SYSTEM, Actor, Context, use
from orion_core.contract import Contract, Operation, operations
from orion_core.contracts.analytics import Analytics
from orion_core.contracts.auth import Auth
from orion_core.contracts.notifications import Notifications
from orion_core.contracts.search import Search
from orion_core.contracts.storage import Storage
from orion_core.contracts.users import Users
from orion_core.contracts.webhooks import Webhooks
from orion_core.errors import Error
from orion_core.json_value import Json
from orion_core.platform import Reach
from orion_core.testing import InProcess

CONTRACTS: tuple[type[Contract], ...] = (Analytics, Auth, Notifications, Search, Storage, Users, Webhooks)
SEED = 20260101
INPUTS = 20
ACTORS = (
    ANONYMOUS,
    SYSTEM,
    Actor("user", str(UUID(int=7)), permissions=("users:read",)),
    Actor("user", str(UUID(int=8)), permissions=("*",)),
)
WORDS = (
    "",
    "ada@example.org",
    "Grace@Example.ORG",
    "correct horse battery",
    "user.registered",
    "\x00",
    "é" * 70,
    "x" * 2000,
    "<b>&",
    "😀" * 20,
    "null",
    "' OR 1=1 --",
)

VALUES: tuple[Any, ...] = (None, 1, "ada", [], {}, {"id": "1", "version": 1, "name": "Ada"}, [[[1.5]]], {"name": None})


def made(kind: Any, rng: random.Random) -> Any:
    """Something of the type `kind`, or now and then something that is not."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if rng.random() < 0.05:
        return rng.choice([None, 5, "five", (), 1.5])
    if origin in (typing.Union, types.UnionType):
        return made(rng.choice(args), rng)
    if origin is tuple:
        return tuple(made(args[0], rng) for _ in range(rng.randrange(3)))
    if origin is typing.Literal:
        return rng.choice([*args, "another"])
    if kind is str:
        return rng.choice([*WORDS, "".join(rng.choices(string.printable, k=rng.randrange(30)))])
    plain = {
        int: lambda: rng.choice([0, 1, -1, 50, 200, 201, 2**40]),
        float: lambda: rng.uniform(-10, 10),
        bool: lambda: rng.random() < 0.5,
        bytes: lambda: rng.choice([b"", b"GIF89a", rng.randbytes(200)]),
        Json: lambda: Json.of(rng.choice(VALUES)),
        UUID: lambda: UUID(int=rng.choice([1, 7, 8, rng.getrandbits(128)])),
        datetime: lambda: datetime(2026, 1, 1, tzinfo=UTC),
        date: lambda: date(2026, 1, 1),
        type(None): lambda: None,
    }
    if kind in plain:
        return plain[kind]()
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: made(hints[field.name], rng) for field in attrs.fields(kind)})


def shape(result: Any) -> Any:
    """What kind of thing it is, all the way down, without what differs from run to run."""
    if attrs.has(type(result)):
        return (type(result).__name__, tuple(shape(getattr(result, f.name)) for f in attrs.fields(type(result))))
    if isinstance(result, tuple):
        return ("tuple", tuple(map(shape, result)))
    # Drivers have a UUID of their own.
    return "UUID" if isinstance(result, UUID) else type(result).__name__


async def outcome(orion: InProcess, contract: type[Contract], operation: Operation, rng: random.Random) -> Any:
    actor = rng.choice(ACTORS)
    try:
        args = {name: made(kind, rng) for name, kind in operation.parameters.items()}
        with use(Context(actor=actor)):
            result = await getattr(orion.service(contract), operation.name)(**args)
    except Error as error:
        fields = tuple((item.field, item.code) for item in error.errors)
        return (type(error).__name__, error.reported_code, error.status, fields)
    return ("returned", shape(result))


async def outcomes(folder: Path, reach: Reach) -> list[Any]:
    found = []
    async with InProcess(folder, reach=reach) as orion:
        for contract in CONTRACTS:
            for operation in operations(contract).values():
                rng = random.Random(f"{SEED}/{operation.contract}.{operation.name}")
                for number in range(INPUTS):
                    result = await outcome(orion, contract, operation, rng)
                    found += [(operation.contract, operation.name, number, result)]
        await orion.settle()
    return found


async def test_twenty_inputs_per_operation_have_the_same_outcome_local_and_wire(tmp_path: Path) -> None:
    local = await outcomes(tmp_path / "local", "local")
    wire = await outcomes(tmp_path / "wire", "wire")

    assert [(one, other) for one, other in zip(local, wire, strict=True) if one != other] == []
    assert len(local) == INPUTS * sum(len(operations(contract)) for contract in CONTRACTS)
    kinds = {item[3][0] for item in local}
    assert "Internal" not in kinds, "an input must never look like a defect of ours"
    assert {"returned", "Invalid"} <= kinds
    assert len(kinds) >= 5, "a fuzz that is refused at the door every time would prove nothing"
