"""Production: what counts as such, and what refuses the start there and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orion_core.errors import StartRefused
from orion_core.platform import Platform
from orion_core.production import in_production
from orion_core.secret import Secret
from orion_core.settings import Settings
from orion_plugins.gateway.settings import GatewaySettings

PUBLIC = "https://shop.example"
GOOD = "k1:Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZmdo"


@pytest.mark.parametrize(
    ("settings", "production"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "0.0.0.0", "public_url": "http://localhost:3000"}, False),
        ({"public_url": "http://127.1.2.3:3000"}, False),
        ({"public_url": "http://[::1]:3000"}, False),
        ({"public_url": "http://shop.localhost"}, False),
        ({"public_url": PUBLIC}, True),
        ({"public_url": "http://localhost.shop.example"}, True),
        ({"public_url": "http://192.168.0.7"}, True),
        ({"public_url": "shop.example"}, True),
        ({"public_url": "http://["}, True),
    ],
)
def test_production_is_whatever_is_reached_from_elsewhere(settings: dict[str, Any], production: bool) -> None:
    """G90: a property of the URL, not a flag."""
    assert in_production(Settings(**settings)) is production


def refused(folder: Path, **settings: Any) -> list[str]:
    """What refuses the start of a gateway with `settings`, which are otherwise fit for production."""
    fit = {"data_dir": folder, "public_url": PUBLIC, **settings}
    try:
        Platform.load("gateway", settings=Settings(**fit))
    except StartRefused as error:
        return list(error.problems)
    return []


def test_what_is_fit_for_production_starts(tmp_path: Path) -> None:
    """G90."""
    settings = {
        "database_url": "postgresql://orion:kR7-very.long@db/orion",
        "bus_url": "amqp://orion:kR7-very.long@mq/%2F",
        "call_key": Secret(GOOD),
        "plugins": {"gateway": GatewaySettings(cors_origins=(PUBLIC,), cors_credentials=True)},
    }
    assert refused(tmp_path, **settings) == []


BAD: list[tuple[str, dict[str, Any]]] = [
    ("ORION_PUBLIC_URL", {"public_url": "http://shop.example"}),
    ("ORION_PUBLIC_URL", {"public_url": "", "host": "0.0.0.0"}),
    ("ORION_LOG_LEVEL", {"log_level": "DEBUG"}),
    ("ORION_LIMITS_URL", {"limits_url": "none:"}),
    ("ORION_DATABASE_URL", {"database_url": "postgresql://orion:secret@db/orion"}),
    ("ORION_DATABASE_URL", {"database_url": "postgresql://postgres:Postgres@db/orion"}),
    ("ORION_USERS_DATABASE_URL", {"databases": {"users": "postgresql://orion:change%2Dme@db/users"}}),
    ("ORION_BUS_URL", {"bus_url": "amqp://guest:guest@mq/%2F"}),
    ("ORION_BUS_URL", {"bus_url": "amqp://mq/%2F"}),
    ("ORION_CACHE_URL", {"cache_url": "redis://:redis@cache/0"}),
    ("ORION_LIMITS_URL", {"limits_url": "redis://:password@cache/0"}),
    ("ORION_MAIL_URL", {"mail_url": "smtp://orion:secret@mail"}),
    ("ORION_CALL_KEY", {"call_key": Secret(f"{GOOD},k2:{'ab' * 20}")}),
    ("ORION_GATEWAY_CORS_ORIGINS", {"plugins": {"gateway": GatewaySettings(cors_origins=("*",))}}),
]


@pytest.mark.parametrize(("named", "settings"), BAD)
def test_what_is_for_trying_out_refuses_the_start(tmp_path: Path, named: str, settings: dict[str, Any]) -> None:
    """G90: default secrets, CORS `*`, debug, plain HTTP; each is named, with its fix and without its value."""
    problems = refused(tmp_path, **settings)

    assert [problem for problem in problems if problem.startswith(named)] == problems != []
    told = " ".join(problems)
    assert not any(secret in told for secret in ("change%2D", ":guest", "abab", ":secret", ":redis"))


@pytest.mark.parametrize(("named", "settings"), BAD)
def test_none_of_it_refuses_the_start_on_a_loopback_address(
    tmp_path: Path, named: str, settings: dict[str, Any]
) -> None:
    assert refused(tmp_path, **{**settings, "public_url": "http://localhost:3000"}) == []


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    problems = refused(tmp_path, log_level="debug", limits_url="none:", bus_url="amqp://guest:guest@mq/%2F")

    assert [problem.partition(" ")[0].partition("=")[0] for problem in problems] == [
        "ORION_LOG_LEVEL",
        "ORION_LIMITS_URL",
        "ORION_BUS_URL",
    ]
