"""Finding plugins, and what a manifest may say."""

from __future__ import annotations

import abc
import importlib.metadata
from types import ModuleType
from typing import Any

import attrs
import pytest

from orion_core.contract import Contract
from orion_core.plugin import Broken, Plugin, discover, hookimpl, under


class Shop(Contract, name="shop"):
    """Sells."""

    @abc.abstractmethod
    async def sell(self) -> None: ...


@attrs.frozen
class ShopService(Shop):
    """Sells nothing."""

    async def sell(self) -> None: ...


class Table:
    """Stands for a table."""


def module(name: str, **contents: Any) -> ModuleType:
    """A module that might hold a plugin."""
    made = ModuleType(name)
    for key, item in contents.items():
        setattr(made, key, item)
    return made


@hookimpl
def orion_plugin() -> Plugin:
    return Plugin("shop", service=ShopService)


class Point:
    """An entry point that loads whatever it is told to."""

    def __init__(self, name: str, loaded: Any) -> None:
        self.name = self.value = name
        self._loaded = loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    """The entry points of a machine."""
    points: list[Point] = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: points)
    return points


def test_a_module_with_the_hook_is_found(installed: list[Point]) -> None:
    installed.append(Point("shop", module("acme_shop", orion_plugin=orion_plugin)))

    found = discover()

    assert list(found.plugins) == ["shop"]
    assert found.plugins["shop"].contract is Shop
    assert found.plugins["shop"].paths == ("/api/v1/shop",)


def test_a_plugin_that_breaks_is_named_and_takes_no_other_down(installed: list[Point]) -> None:
    def misspelt() -> None: ...

    installed += [
        Point("broken", ImportError("no module named acme")),
        Point("empty", module("empty")),
        Point("odd", module("odd", orion_plugin=hookimpl(lambda: 5))),
        Point("misspelt", module("misspelt", orion_plugins=hookimpl(misspelt))),
        Point("shop", module("acme_shop", orion_plugin=orion_plugin)),
    ]

    found = discover()

    assert list(found.plugins) == ["shop"]
    reasons = {item.name: item.reason for item in found.broken}
    assert reasons["broken"] == "ImportError: no module named acme"
    assert reasons["empty"] == "TypeError: empty must implement the hook orion_plugin and return one Plugin"
    assert "must implement the hook orion_plugin" in reasons["odd"]
    assert "PluginValidationError" in reasons["misspelt"]


def test_two_plugins_with_one_name_are_told_apart(installed: list[Point]) -> None:
    installed += [
        Point("other", module("other_shop", orion_plugin=orion_plugin)),
        Point("shop", module("acme_shop", orion_plugin=orion_plugin)),
    ]

    assert discover().clashes == ("two plugins claim the name 'shop': other_shop and acme_shop; uninstall one of them",)


def test_only_the_named_ones_are_imported(installed: list[Point]) -> None:
    installed += [
        Point("shop", module("acme_shop", orion_plugin=orion_plugin)),
        Point("slow", ImportError("was imported")),
    ]

    assert discover(["shop"]).broken == ()


def test_a_command_that_breaks_is_named() -> None:
    @hookimpl
    def orion_commands(cli: Any) -> None:
        raise RuntimeError("no")

    found = discover(extra=[module("acme_shop", orion_plugin=orion_plugin, orion_commands=orion_commands)])

    assert Broken("shop", "RuntimeError: no") in found.commands(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ({"name": "Shop"}, "a plugin's name is lower case, 1 to 31 letters, digits and _, not 'Shop'"),
        ({"name": ""}, "a plugin's name"),
        ({"name": "store", "service": ShopService}, "serves the contract shop: give both the same name"),
        ({"name": "shop", "service": ShopService, "tables": [Table]}, "has tables but names no package of migrations"),
        ({"name": "shop", "tables": [Table], "migrations": "x"}, "has tables but no service that could use them"),
        ({"name": "shop", "prefixes": [""]}, "write it as /path without / at the end"),
        ({"name": "shop", "prefixes": ["/"]}, "write it as /path without / at the end"),
        ({"name": "shop", "prefixes": ["/a/"]}, "write it as /path without / at the end"),
        ({"name": "shop", "prefixes": ["a"]}, "write it as /path without / at the end"),
    ],
)
def test_a_manifest_that_cannot_work_is_refused(manifest: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Plugin(manifest.pop("name"), **manifest)


def test_a_service_without_a_contract_is_no_service() -> None:
    class Nothing:
        pass

    with pytest.raises(TypeError, match="keeps no contract"):
        Plugin("shop", service=Nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/auth", "auth"),
        ("/api/v1/auth/me", "auth"),
        ("/api/v1/auth/admin/x", "admin"),
        ("/api/v1/authors", None),
        ("/API/v1/auth", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_prefix_covers_whole_segments_and_the_longest_wins(path: str, name: str | None) -> None:
    assert under({"/api/v1/auth": "auth", "/api/v1/auth/admin": "admin"}, path) == name
