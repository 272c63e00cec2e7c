"""Where settings come from, and what is said about a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from orion_core.errors import StartRefused
from orion_core.secret import Secret
from orion_core.settings import Settings, load


@attrs.frozen(kw_only=True)
class Window:
    """One table of a table of settings."""

    width: int = attrs.field(validator=attrs.validators.ge(1))
    colours: tuple[str, ...] = ()
    labels: Mapping[str, str] = attrs.field(factory=dict)
    inner: Window | None = None


@attrs.frozen
class ShopSettings:
    """Settings of a plugin."""

    windows: Mapping[str, Window] = attrs.field(factory=dict, kw_only=True)

    currency: str = "EUR"
    api_secret: Secret = attrs.field(factory=Secret)
    patience: timedelta = timedelta(seconds=5)
    limit: int = attrs.field(default=3, validator=attrs.validators.ge(1))


def read(
    env: Mapping[str, str] | None = None,
    toml: str | bytes = "",
    split: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
    broken: tuple[str, ...] = (),
) -> Settings:
    """Settings from these sources."""
    path = None
    if folder is not None:
        path = folder / "orion.toml"
        path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    return load(env or {}, {"shop": ShopSettings, "bare": None}, toml=path, split=split, broken=broken)


def problems(*args: Any, **kwargs: Any) -> list[str]:
    """What is wrong with these sources."""
    with pytest.raises(StartRefused) as refused:
        read(*args, **kwargs)
    return list(refused.value.problems)


def test_the_environment_wins_over_the_file_over_the_split_over_the_default(tmp_path: Path) -> None:
    env = {"ORION_HOST": "env"}
    toml = 'host = "toml"\npublic_url = "toml"\n[shop]\ncurrency = "toml"'
    split = {"ORION_HOST": "split", "ORION_PUBLIC_URL": "split", "ORION_MAIL_URL": "split:"}

    settings = read(env, toml, split, folder=tmp_path)

    assert (settings.host, settings.public_url, settings.mail_url, settings.port) == ("env", "toml", "split:", 0)
    assert settings.of("shop", ShopSettings).currency == "toml"
    assert dict(settings.sources) == {
        "host": "ORION_HOST",
        "public_url": "orion.toml: public_url",
        "mail_url": "the running split",
        "shop_currency": "orion.toml: shop.currency",
    }


def test_every_type_is_read_from_text_and_from_toml(tmp_path: Path) -> None:
    env = {
        "ORION_PEERS": "users=http://a:1/|http://b:2, auth=https://c",
        "ORION_RETRY_DELAYS": "1, 2.5",
        "ORION_DOCS": "no",
        "ORION_SHOP_PATIENCE": "1.5",
    }
    toml = """
    retry_delays = [1, 2.5]
    docs = false
    [peers]
    users = "http://a:1|http://b:2"
    auth = "https://c"
    [shop]
    patience = 1.5
    """

    for settings in (read(env), read(toml=toml, folder=tmp_path)):
        assert settings.peers == {"users": ("http://a:1", "http://b:2"), "auth": ("https://c",)}
        assert settings.retry_delays == (1.0, 2.5)
        assert settings.docs is False
        assert settings.of("shop", ShopSettings).patience == timedelta(seconds=1.5)


def test_a_service_may_have_a_database_of_its_own() -> None:
    settings = read({"ORION_BARE_DATABASE_URL": "postgresql://h/bare", "ORION_DATA_DIR": "/data"})

    assert settings.database("bare") == "postgresql://h/bare"
    assert settings.database("shop") == "sqlite:////data/shop.db"
    assert settings.durable_elsewhere


def test_an_unknown_variable_names_the_nearest_known_one() -> None:
    assert problems({"ORION_PROT": "1", "ORION_SHOP_CURENCY": "x", "ORION_ZZZ": "1"}) == [
        "ORION_PROT is no setting; did you mean ORION_PORT?",
        "ORION_SHOP_CURENCY is no setting; did you mean ORION_SHOP_CURRENCY?",
        "ORION_ZZZ is no setting; see: orion doctor --settings",
    ]


def test_an_unknown_name_in_the_file_names_the_nearest_known_one(tmp_path: Path) -> None:
    assert problems(toml="prot = 1\n[shop]\ncurency = 'x'", folder=tmp_path) == [
        "orion.toml: prot is no setting; did you mean port?",
        "orion.toml: shop.curency is no setting; did you mean shop.currency?",
    ]


def test_variables_of_tests_and_of_others_are_left_alone() -> None:
    assert read({"ORION_TEST_POSTGRES_URL": "x", "ORIONX": "1", "PATH": "/"}) == Settings(
        plugins={"shop": ShopSettings()}
    )


def test_settings_of_a_plugin_that_cannot_be_loaded_take_nobody_down(tmp_path: Path) -> None:
    """Its settings class cannot be asked which of them exist."""
    env = {"ORION_REFERRALS_BONUS": "5"}
    toml = "[referrals]\nbonus = 5"

    assert read(env, toml, folder=tmp_path, broken=("referrals",)).port == 0
    assert len(problems(env, toml, folder=tmp_path)) == 2


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"ORION_PORT": "x"}, "ORION_PORT: must be a whole number, not 'x'"),
        ({"ORION_PORT": "-1"}, "Settings: ORION_PORT must be at least 0, not -1"),
        ({"ORION_DOCS": "maybe"}, "ORION_DOCS: must be true or false, not 'maybe'"),
        ({"ORION_PEERS": "users"}, "ORION_PEERS: must be name=value,name=value"),
        ({"ORION_SHUTDOWN_GRACE": "nan"}, "Settings: ORION_SHUTDOWN_GRACE must be at least 0, not nan"),
        ({"ORION_RELAY_INTERVAL": "0"}, "Settings: ORION_RELAY_INTERVAL must be at least 0.001, not 0.0"),
        ({"ORION_RETRY_DELAYS": "1,-1"}, "Settings: ORION_RETRY_DELAYS must be at least 0, not (1.0, -1.0)"),
        ({"ORION_DATABASE_POOL": "0"}, "Settings: ORION_DATABASE_POOL must be at least 1, not 0"),
        ({"ORION_LOG_FORMAT": "x"}, "Settings: ORION_LOG_FORMAT must be one of json, text, auto, not 'x'"),
        ({"ORION_LOG_LEVEL": "x"}, "Settings: ORION_LOG_LEVEL must be one of debug, info, warning, error, not 'x'"),
        ({"ORION_SYNCHRONOUS": "OFF"}, "Settings: ORION_SYNCHRONOUS must be one of full, normal, extra, not 'OFF'"),
        ({"ORION_SHOP_LIMIT": "0"}, "ShopSettings: 'limit' must be >= 1: 0"),
    ],
)
def test_a_wrong_value_is_said_before_anything_starts(env: dict[str, str], problem: str) -> None:
    assert problems(env) == [problem]


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("services = 5", "orion.toml: services: must be a list"),
        ("peers = [1]", "orion.toml: peers: must be a table of names and values"),
        ("port = 1.5", "orion.toml: port: must be a whole number, not '1.5'"),
    ],
)
def test_a_wrong_type_in_the_file_is_said(toml: str, problem: str, tmp_path: Path) -> None:
    assert problems(toml=toml, folder=tmp_path) == [problem]


@pytest.mark.parametrize("toml", [b"port = ", b"host = '\xff'"])
def test_a_file_that_cannot_be_read_is_named(toml: bytes, tmp_path: Path) -> None:
    [problem] = problems(toml=toml, folder=tmp_path)

    assert problem.startswith(f"{tmp_path / 'orion.toml'}: ")


def test_all_problems_are_said_at_once() -> None:
    assert len(problems({"ORION_PORT": "x", "ORION_DOCS": "x", "ORION_NONE": "x"})) == 3


def test_secrets_do_not_show() -> None:
    """In tracebacks and logs a repr is what is seen."""
    settings = read(
        {
            "ORION_CALL_KEY": "k:hunter2",
            "ORION_KEYRING": "hunter2",
            "ORION_DATABASE_URL": "postgresql://orion:hunter2@db:5432/orion",
            "ORION_BUS_URL": "amqp://orion:hunter2@mq/%2F",
            "ORION_CACHE_URL": "redis://:hunter2@redis:6379/0",
            "ORION_MAIL_URL": "smtp://orion:hunter2@mail:587",
            "ORION_SHOP_DATABASE_URL": "postgresql://shop:hunter2@db/shop",
            "ORION_SHOP_API_SECRET": "hunter2",
        }
    )

    shown = f"{settings} {settings!r} {settings.of('shop', ShopSettings)}"
    assert "hunter2" not in shown
    assert "postgresql://orion:***@db:5432/orion" in shown
    assert settings.call_key.reveal() == "k:hunter2"


TABLES = """
[shop.windows.front]
width = 3
colours = ["red", "blue"]
labels = { de = "vorn" }
inner = { width = 1 }

[shop.windows.back]
width = 2
"""


def test_tables_of_tables_become_objects_of_settings(tmp_path: Path) -> None:
    front = Window(width=3, colours=("red", "blue"), labels={"de": "vorn"}, inner=Window(width=1))

    assert read(toml=TABLES, folder=tmp_path).of("shop", ShopSettings).windows == {
        "front": front,
        "back": Window(width=2),
    }


def test_the_environment_gives_them_as_json() -> None:
    env = {"ORION_SHOP_WINDOWS": '{"front": {"width": 3, "inner": {"width": 1}}}'}

    assert read(env).of("shop", ShopSettings).windows == {"front": Window(width=3, inner=Window(width=1))}


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[shop.windows.front]\nwidht = 3", "shop.windows: front: widht is no setting; did you mean width?"),
        ("[shop.windows.front]\nx = 3", "there are width, colours, labels, inner"),
        ("[shop.windows.front]\ncolours = []", "front: width is missing"),
        ("[shop.windows.front]\nwidth = 'wide'", "front: width: must be a whole number, not 'wide'"),
        ("[shop.windows.front]\nwidth = 0", "front: 'width' must be >= 1: 0"),
        ("[shop.windows.front]\nwidth = 1\ninner = { width = 'x' }", "front: inner: width: must be a whole number"),
        ("[shop.windows]\nfront = 3", "front: must be a table"),
        ("[shop]\nwindows = 3", "must be a table"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_place(toml: str, problem: str, tmp_path: Path) -> None:
    [said] = problems(toml=toml, folder=tmp_path)

    assert said.startswith("orion.toml: shop.windows: ")
    assert problem in said


def test_json_that_is_none_is_said() -> None:
    assert problems({"ORION_SHOP_WINDOWS": "front"}) == ["ORION_SHOP_WINDOWS: must be JSON, an object of objects"]
