"""The command line as a whole: help, typos, commands of plugins, and what each command prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
from terminal import environment, install, orion
from typer.testing import CliRunner

from orion_core.cli import command_line
from orion_core.cli.configured import discovered
from orion_core.cli.merge import add_commands
from orion_core.errors import NotFound
from orion_core.keyring import Keyring
from orion_core.plugin import Discovery, hookimpl

COMMANDS = (
    ("run",),
    ("migrate", "status"),
    ("migrate", "up"),
    ("migrate", "down"),
    ("plugins",),
    ("doctor",),
    ("topology",),
    ("demo",),
    ("audit", "anchor"),
    ("audit", "list"),
    ("audit", "verify"),
    ("gateway", "purge"),
    ("keyring", "new"),
    ("keyring", "reencrypt"),
    ("keyring", "status"),
    ("keys", "list"),
    ("keys", "rotate"),
    ("users", "create-admin"),
    ("users", "disable"),
    ("users", "enable"),
    ("analytics", "export"),
    ("analytics", "rebuild"),
    ("search", "reindex"),
    ("search", "status"),
    ("storage", "buckets"),
    ("storage", "gc"),
    ("webhooks", "deliveries"),
    ("webhooks", "endpoints"),
    ("webhooks", "retry"),
)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting but a data folder of the test's own, and no orion.toml of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "BUS_URL", "CACHE_URL", "MAIL_URL", "KEYRING", "PORT", "PEERS", "SERVICES"):
        monkeypatch.delenv(f"ORION_{name}", raising=False)
    monkeypatch.setenv("ORION_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    yield
    discovered.cache_clear()


def invoke(*args: str, typed: str | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command, run in this process."""
    result = CliRunner().invoke(command_line(), args, input=typed, prog_name="orion")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_orion_alone_teaches() -> None:
    code, printed, _ = invoke()
    assert code == 0
    for word in ("run", "migrate", "plugins", "doctor", "topology", "demo", "keyring", "users", "orion run"):
        assert word in printed
    assert invoke("--help")[1] == printed


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_ends_with_an_example(command: tuple[str, ...]) -> None:
    code, printed, _ = invoke(*command, "--help")
    assert code == 0
    assert re.search(r"Examples?:.*\borion " + " ".join(command), printed, re.DOTALL)


def test_every_command_is_in_the_list_of_commands_that_have_an_example() -> None:
    app = command_line()
    found = {(command.name or command.callback.__name__,) for command in app.registered_commands if command.callback}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            name = group.name if isinstance(group.name, str) else group.typer_instance.info.name
            found.add((str(name), command.name or command.callback.__name__))
    assert found == set(COMMANDS)


def test_a_typo_gets_a_suggestion() -> None:
    code, _, complaint = invoke("topologie")
    assert code == 2
    assert "Did you mean 'topology'?" in complaint


def test_an_unknown_setting_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORION_DATABSE_URL", "x")
    code, _, complaint = invoke("doctor")
    assert (code, complaint) == (1, "error: ORION_DATABSE_URL is no setting; did you mean ORION_DATABASE_URL?\n")


def test_split_on_sqlite_and_the_embedded_bus_is_refused_with_the_settings_to_set() -> None:
    code, _, complaint = invoke("run", "--split")
    assert code == 1
    assert "ORION_DATABASE_URL=postgresql://" in complaint
    assert "ORION_BUS_URL=amqp://" in complaint


def test_keyring_new_prints_a_keyring() -> None:
    code, printed, _ = invoke("keyring", "new")
    assert code == 0
    assert Keyring.parse(printed).signing[0].kid


def test_plugins_lists_what_is_installed() -> None:
    code, printed, _ = invoke("plugins", "--json")
    assert code == 0
    users = next(each for each in json.loads(printed) if each["name"] == "users")
    assert users["contract"] == "Users"
    assert (users["port"], users["state"]) == (3002, "ok")
    assert users["listeners"] > 1
    assert users["routes"] > 1
    assert "notifications" in invoke("plugins")[1]


def test_topology_shows_who_tells_and_hears_what() -> None:
    code, printed, _ = invoke("topology", "--json")
    assert code == 0
    found = json.loads(printed)
    assert {"event": "user.registered", "from": "auth", "to": "users"} in found["events"]
    assert found["services"]["auth"]["tells"][0] == "user.registered"
    chart = invoke("topology", "--mermaid")[1]
    assert chart.startswith("flowchart LR\n")
    assert re.search(r"s_auth -\.->\|\".*user\.registered.*\"\| s_users", chart)
    assert "by users.create_profile" in invoke("topology")[1]


UPSTREAM = """
[gateway.upstreams.shop]
prefix = "/shop"
urls = ["http://127.0.0.1:9", "http://127.0.0.1:9/base"]
"""


def test_topology_shows_what_is_forwarded_outside(tmp_path: Path) -> None:
    (tmp_path / "orion.toml").write_text(UPSTREAM)
    code, printed, _ = invoke("topology", "--json")
    assert code == 0
    [found] = json.loads(printed)["outside"]
    assert (found["from"], found["name"], found["prefix"]) == ("gateway", "shop", "/shop")
    assert found["urls"] == ["http://127.0.0.1:9", "http://127.0.0.1:9/base"]
    assert 's_gateway ==>|"/shop"| o_gateway_0' in invoke("topology", "--mermaid")[1]
    assert "forwards /shop to shop" in invoke("topology")[1]


def test_doctor_looks_at_upstreams_and_says_what_would_refuse_the_start(tmp_path: Path) -> None:
    (tmp_path / "orion.toml").write_text(UPSTREAM)
    checks = {each["name"]: each for each in json.loads(invoke("doctor", "--json")[1])["checks"]}
    assert checks["upstream shop"]["state"] == "warn"
    assert "http://127.0.0.1:9 cannot be reached" in checks["upstream shop"]["detail"]

    (tmp_path / "orion.toml").write_text(UPSTREAM.replace('"/shop"', '"/api/v1/users"'))
    code, printed, _ = invoke("doctor", "--json")
    checks = {each["name"]: each for each in json.loads(printed)["checks"]}
    assert code == 1
    assert "/api/v1/users belongs to users" in checks["start"]["detail"]


def test_an_upstream_that_cannot_work_refuses_the_run_before_anything_is_opened(tmp_path: Path) -> None:
    (tmp_path / "orion.toml").write_text(UPSTREAM.replace('"/shop"', '"/api/v1/users"'))
    code, _, complaint = invoke("run", "--port", "0")
    assert code == 1
    assert "gateway.upstreams.shop.prefix: /api/v1/users belongs to users" in complaint
    assert not list((tmp_path / "data").glob("*.db"))


def test_doctor_shows_settings_with_their_source_and_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORION_CALL_KEY", "kid:" + "s" * 40)
    monkeypatch.setenv("ORION_MAIL_URL", "smtp://ada:secretword@127.0.0.1:1")
    code, printed, _ = invoke("doctor", "--json")
    assert code == 1
    found = json.loads(printed)
    settings = {each["name"]: each for each in found["settings"]}
    assert settings["ORION_CALL_KEY"]["value"] == "***"
    assert settings["ORION_MAIL_URL"] == {
        "name": "ORION_MAIL_URL",
        "value": "smtp://ada:***@127.0.0.1:1",
        "source": "ORION_MAIL_URL",
    }
    assert settings["ORION_BUS_URL"]["source"] == "default"
    checks = {each["name"]: each["state"] for each in found["checks"]}
    assert checks["mail"] == "wrong"
    assert checks["database of users"] == checks["cache"] == checks["bus"] == "ok"
    shown = invoke("doctor")[1]
    assert "secretword" not in shown + printed
    assert "✗ mail" in shown
    assert "✓ cache" in shown


def test_doctor_lists_what_may_not_be_so_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """G90: the same list that refuses the start."""
    monkeypatch.setenv("ORION_PUBLIC_URL", "https://shop.example")
    monkeypatch.setenv("ORION_LOG_LEVEL", "debug")
    monkeypatch.setenv("ORION_GATEWAY_CORS_ORIGINS", "*")
    code, printed, _ = invoke("doctor", "--json")
    wrong = [each["detail"] for each in json.loads(printed)["checks"] if each["name"] == "start"]

    assert code == 1
    assert [detail.partition(" ")[0] for detail in wrong] == ["ORION_LOG_LEVEL=debug", "ORION_GATEWAY_CORS_ORIGINS"]
    code, _, complaint = invoke("run")
    assert code == 1
    assert all(detail in complaint for detail in wrong)


def test_doctor_settings_lists_those_of_plugins_too() -> None:
    code, printed, _ = invoke("doctor", "--settings", "--json")
    assert code == 0
    found = {each["name"]: each for each in json.loads(printed)}
    assert found["ORION_PORT"]["type"] == "whole number"
    assert found["ORION_NOTIFICATIONS_MAIL_FROM"]["help"]
    assert found["ORION_USERS_DATABASE_URL"]["help"]
    assert all(each["help"] for each in found.values())


def test_migrations_are_shown_applied_and_undone() -> None:
    assert (
        "pending in analytics, auth, notifications, search, storage, users, webhooks" in invoke("migrate", "status")[1]
    )
    code, printed, _ = invoke("migrate", "up", "users")
    assert code == 0
    assert "users: applied" in printed
    assert invoke("migrate", "up", "users")[1] == "users: nothing to apply\n"
    states = json.loads(invoke("migrate", "status", "users", "--json")[1])
    assert all(each["applied_at"] for each in states["users"])
    assert invoke("migrate", "down", "users", typed="n\n")[0] == 1
    code, printed, _ = invoke("migrate", "down", "users", "--yes")
    assert (code, printed) == (0, f"users: undid {states['users'][-1]['id']}\n")
    assert "pending in users" in invoke("migrate", "status", "users")[1]


def test_migrate_refuses_services_that_have_no_database() -> None:
    code, _, complaint = invoke("migrate", "up", "gateway", "users")
    assert (code, complaint.startswith("error: gateway has no database")) == (1, True)
    code, _, complaint = invoke("migrate", "up", "userz")
    assert (code, complaint.startswith("error: there is no plugin userz; installed are")) == (1, True)


def test_a_broken_plugin_does_not_take_the_command_line_down(tmp_path: Path) -> None:
    env = environment(tmp_path, **install(tmp_path, "lame", "raise RuntimeError('out of order')\n"))
    listed = orion("plugins", env=env, folder=tmp_path)
    assert listed.returncode == 1
    assert re.search(r"lame +acme-lame 1\.2 .*broken: RuntimeError: out of order", listed.stdout)
    examined = orion("doctor", env=env, folder=tmp_path)
    assert examined.returncode == 1
    assert "✗ plugin lame  RuntimeError: out of order" in examined.stdout
    assert orion("topology", env=env, folder=tmp_path).returncode == 0
    assert orion("--help", env=env, folder=tmp_path).returncode == 0


def commands(name: str, *groups: tuple[str, str]) -> ModuleType:
    """A plugin module that adds commands, as pairs of group and command."""
    module = ModuleType(f"acme_{name}")

    def orion_commands(cli: typer.Typer) -> None:
        if not groups:
            raise RuntimeError("out of order")
        for group, command in groups:
            added = typer.Typer(name=group)
            added.callback()(lambda: None)
            added.command(command)(lambda said=f"{name} {command}": typer.echo(said))
            cli.add_typer(added)

    module.orion_commands = hookimpl(orion_commands)  # type: ignore[attr-defined]  # how pluggy finds hooks
    return module


def discovery(*modules: ModuleType) -> Discovery:
    return Discovery({}, {module.__name__: module for module in modules})


def test_groups_of_plugins_merge_by_name() -> None:
    app = typer.Typer()
    found = discovery(commands("one", ("people", "count")), commands("two", ("people", "erase"), ("shop", "open")))
    assert add_commands(app, found) == ()
    for args, said in (
        (["people", "count"], "one count"),
        (["people", "erase"], "two erase"),
        (["shop", "open"], "two open"),
    ):
        assert CliRunner().invoke(app, args).stdout == f"{said}\n"


def test_commands_that_fail_or_clash_are_left_out_and_reported() -> None:
    app = typer.Typer()
    found = discovery(
        commands("one", ("people", "count"), ("shop", "open")),
        commands("lame"),
        commands("two", ("people", "count")),
    )
    failed = {broken.name: broken.reason for broken in add_commands(app, found)}
    assert failed == {
        "acme_lame": "RuntimeError: out of order",
        "acme_two": "ValueError: people: the command count is there already",
    }
    assert CliRunner().invoke(app, ["people", "count"]).stdout == "one count\n"


def test_an_error_of_a_plugins_command_is_a_line_and_not_a_traceback() -> None:
    app = command_line(with_plugins=False)

    @app.command()
    def lost() -> None:
        raise NotFound("there is no such thing")

    result = CliRunner().invoke(app, ["lost"])
    assert (result.exit_code, result.stderr) == (1, "error: there is no such thing\n")


def test_the_module_can_be_run(tmp_path: Path) -> None:
    printed = orion("--version", env=environment(tmp_path), folder=tmp_path).stdout
    assert re.fullmatch(r"orion \d+\.\d+\.\d+\n", printed)
