"""A reader who knows one plugin finds everything in every other."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

from orion_core.composition import has_database
from orion_core.plugin import discover

ROOT = Path(__file__).parents[2]
PLUGINS = {
    name: plugin for name, plugin in discover().plugins.items() if (ROOT / "src" / "orion_plugins" / name).exists()
}
FOLDERS = {name: ROOT / "src" / "orion_plugins" / name for name in PLUGINS}
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST = 400
LONG_FOR_A_REASON = {
    "orion_core/platform.py": "the one place where everything is put together; splitting it would hide the order",
    "orion_core/contracts/storage.py": "a contract is one list of promises, and what they are made of",
    "orion_core/testing/suites/bus.py": "a suite is one list of promises",
    "orion_core/testing/suites/database.py": "a suite is one list of promises",
}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_says_what_it_does_asks_tells_and_hears(name: str) -> None:
    """The docstring of the package is the first thing that is read, and nothing else is in the file."""
    tree = ast.parse((FOLDERS[name] / "__init__.py").read_text())
    text = (ast.get_docstring(tree) or "").lower()

    assert len(tree.body) == 1, "an __init__.py that does something runs on every import"
    assert [word for word in ("does", "asks", "tells", "hears") if word not in text] == []


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_has_the_files_that_everybody_knows(name: str) -> None:
    """The names of files are fixed, so that one knows where to look before opening the folder."""
    plugin, folder = PLUGINS[name], FOLDERS[name]
    wanted = {"plugin.py"}
    wanted |= {"service.py"} if plugin.service else set()
    wanted |= {"routes.py"} if plugin.routes else set()
    wanted |= {"tables.py", "migrations"} if plugin.tables else set()
    wanted |= {"settings.py"} if plugin.settings else set()

    assert sorted(file for file in wanted if not (folder / file).exists()) == []


@pytest.mark.parametrize("name", PLUGINS)
def test_tables_are_named_after_their_service_and_have_no_schema(name: str) -> None:
    """Services may share one PostgreSQL database by schema; a name of its own keeps a table findable all the same.

    The names that the architecture overview gives are kept as they are.
    """
    overview = {
        "users",
        "sessions",
        "auth_audit_logs",
        "user_profiles",
        "user_preferences",
        "user_activity",
        "notifications",
        "notification_templates",
        "notification_preferences",
    }
    tables = [table._meta for table in PLUGINS[name].tables]
    others = [meta.tablename for meta in tables if meta.tablename not in overview]

    assert [meta.tablename for meta in tables if meta.schema] == []
    prefixes = (f"{name}_", f"{name.rstrip('s')}_")
    assert [table for table in others if not table.startswith(prefixes) and table != "refresh_tokens"] == []


@pytest.mark.parametrize("name", PLUGINS)
def test_routes_know_the_contract_and_not_the_service(name: str) -> None:
    """Routes are served in front of stubs, so that the service may be in another process."""
    path = FOLDERS[name] / "routes.py"
    text = path.read_text() if path.exists() else ""

    assert f"orion_plugins.{name}.service" not in text
    assert f"orion_plugins.{name}.tables" not in text


@pytest.mark.parametrize("name", PLUGINS)
def test_migration_files_have_names_of_their_own(name: str) -> None:
    """Migrations are told apart by name in one table per database, whoever wrote them."""
    plugin = PLUGINS[name]
    if not plugin.migrations:
        assert not plugin.tables
        return
    folder = Path(importlib.import_module(plugin.migrations).__path__[0])
    files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]

    assert files
    assert [file for file in files if not re.fullmatch(rf"(orion_)?{name}_\d{{4}}_\w+\.py", file)] == []


def test_services_without_state_have_no_database() -> None:
    """The gateway keeps nothing, so nothing is opened for it."""
    assert not has_database(PLUGINS["gateway"])


def test_files_are_small() -> None:
    """A file holds one public concept; one that is longer owes a reason, written down above."""
    long = {
        str(path.relative_to(ROOT / "src")): len(path.read_text().splitlines())
        for path in SOURCES
        if "/migrations/" not in str(path)
    }

    assert {name: lines for name, lines in long.items() if lines > LONGEST and name not in LONG_FOR_A_REASON} == {}


def test_every_module_says_what_it_is() -> None:
    """A file without a first sentence makes the reader guess."""
    silent = [
        str(path) for path in SOURCES if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert [path for path in silent if "/migrations/" not in path] == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """The project is read and built elsewhere: a path of one machine is wrong on every other."""
    done = subprocess.run(
        ["git", "grep", "-nIE", r"(^|[^a-z.])/(work|root|home)/[a-z]", "--", ".", ":!tests/house/test_anatomy.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""
