"""``orion run``: a host in this process."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from orion_core.cli.console import err, say, without_password

if TYPE_CHECKING:
    from orion_core.cli.configured import Configured
    from orion_core.platform import Platform


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        epilog="Examples:\n\n"
        "orion run  serves everything on port 3000\n\n"
        "orion run users --port 3002  serves one service\n\n"
        "orion run --split  starts one process per service"
    )(run)


def run(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="Services to serve; all when none is named.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on (ORION_HOST).")] = "",
    port: Annotated[
        int, typer.Option(help="Port to listen on (ORION_PORT); with --split that of the gateway, others follow.")
    ] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to start when nobody serves a contract.")] = False,
    split: Annotated[bool, typer.Option("--split", help="Start one supervised process per service.")] = False,
    no_restart: Annotated[
        bool, typer.Option("--no-restart", help="With --split: leave a process that died as it is.")
    ] = False,
    json_logs: Annotated[bool, typer.Option("--json", help="Log JSON, one event per line, on a terminal too.")] = False,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Serve the platform, or the named services of it. Ctrl-C stops it in order."""
    from orion_core.cli.configured import configured

    found = configured(joining=not split)
    settings = found.settings
    if host:
        settings = attrs.evolve(settings, host=host, sources={**settings.sources, "host": "--host"})
    if port:
        settings = attrs.evolve(settings, port=port, sources={**settings.sources, "port": "--port"})
    if json_logs:
        settings = attrs.evolve(settings, log_format="json")
    found = attrs.evolve(found, settings=settings)
    if split:
        from orion_core.cli.split import supervise

        raise typer.Exit(supervise(found, services or [], restart=not no_restart, strict=strict))
    serve_here(found, services or [], strict=strict, supervised=supervised)


def serve_here(found: Configured, services: list[str], *, strict: bool, supervised: bool) -> None:
    """Serve `services` until a signal comes; raises `StartRefused`."""
    # Everything that takes long to import comes after the settings are known to be right.
    from orion_core import serve
    from orion_core.observability import logging
    from orion_core.platform import Platform

    settings = found.settings
    port = found.port(*services)
    logging.setup(settings.log_level, settings.log_format, services[0] if len(services) == 1 else "")
    platform = Platform(found.discovery, services, settings, strict=strict)
    bound = serve.bind(settings.host, port)
    if supervised:
        serve.run(lambda: serve.serve(platform, bound, ended=_when_the_supervisor_is_gone))
        return
    _introduce(platform, found, port)
    serve.run(lambda: serve.serve(platform, bound, listening=_say_ready))
    say("stopped")


def _say_ready() -> None:
    from orion_core.cli.process import began

    say(f"ready in {time.time() - began(os.getpid()):.2f} s")
    sys.stdout.flush()


def _introduce(platform: Platform, found: Configured, port: int) -> None:
    from orion_core.platform import VERSION

    settings = platform.settings
    url = found.url(port)
    say(f"ORION {VERSION}")
    lines = [("URL", url)]
    if settings.docs:
        lines.append(("API page", f"{url}/schema"))
    lines += [
        ("data", str(settings.data_dir.absolute())),
        ("mail", mail_goes(platform.settings.mail())),
        ("services", ", ".join(platform.plugins) or "none"),
        *(("not served", f"{name} ({why})") for name, why in platform.absent.items()),
    ]
    if elsewhere := [name for name in settings.peers if name not in platform.plugins]:
        lines.append(("elsewhere", ", ".join(elsewhere)))
    for label, text in lines:
        say(f"  {label:<11}{text}")
    for broken in found.discovery.broken:
        err.print(f"  [yellow]broken[/yellow]     {broken.name}: {broken.reason}", soft_wrap=True)


def mail_goes(url: str) -> str:
    """Where mail goes, in words."""
    if url.startswith("file:"):
        from orion_core.adapters.choose import file_path

        return f"{file_path(url)} (one readable .eml file each)"
    return without_password(url)


def _when_the_supervisor_is_gone(stop: Callable[[], None]) -> None:
    """Call `stop` when standard input ends, so that a supervisor that was killed leaves no process behind."""
    import asyncio

    loop = asyncio.get_running_loop()

    def wait() -> None:
        # Not through sys.stdin: a thread that holds its lock aborts the interpreter at its end.
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        # The loop may be closed by then, because the process is about to end anyway.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()
