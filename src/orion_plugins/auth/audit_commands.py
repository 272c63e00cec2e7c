"""``orion audit verify``, ``anchor`` and ``list``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from orion_core import codec
from orion_core.cli.console import fail, problems_of, put, say, table
from orion_core.codec import to_plain
from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_audit import AuditAnchor, AuditPage, AuditQuery, AuditReport
from orion_core.errors import Error, Invalid, StartRefused

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

audit = typer.Typer(name="audit", help="The security audit log.", no_args_is_help=True)


@audit.callback()
def _group() -> None:
    """The security audit log."""


@audit.command("verify", epilog="Example: orion audit verify --anchor /mnt/elsewhere/anchors.jsonl")
def verify(
    anchor: Annotated[Path | None, typer.Option(help="File of anchors that orion audit anchor wrote.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the chain of the log anew and tell what was changed, inserted, removed or moved.

    Without an anchor kept elsewhere a tail that was cut off together with its head, or a chain that was computed anew,
    cannot be told. The exit code is 1 if anything is wrong.
    """
    report: AuditReport = ask(lambda auth: auth.verify_audit(_anchors(anchor)))
    if as_json:
        put(to_plain(report))
    elif report.faults:
        rows = [(str(fault.seq), fault.kind, fault.detail) for fault in report.faults]
        table("What is wrong with the audit log", ("seq", "kind", "detail"), rows)
    else:
        say(f"{report.checked} entries, all as they were written; the head is {report.seq} {report.hash}")
    if report.faults:
        raise typer.Exit(1)


@audit.command("anchor", epilog="Example: orion audit anchor /mnt/elsewhere/anchors.jsonl")
def anchor(
    file: Annotated[Path, typer.Argument(help="File to which the anchor is added, one JSON object per line.")],
    as_json: AsJson = False,
) -> None:
    """Write down the head of the log.

    Keep the file where those who can write to the database cannot.
    """
    taken: AuditAnchor = ask(lambda auth: auth.audit_anchor())
    try:
        with file.open("a", encoding="utf-8") as anchors:
            anchors.write(codec.dumps(taken) + "\n")
    except OSError as error:
        fail([f"{file} cannot be written: {error.strerror}"])
        raise typer.Exit(1) from error
    if as_json:
        put(to_plain(taken))
    else:
        say(f"the head is {taken.seq} {taken.hash}")


@audit.command("list", epilog="Example: orion audit list --action signed_in --outcome failure")
def entries(
    action: Annotated[str, typer.Option(help="Only this action.")] = "",
    user: Annotated[UUID | None, typer.Option(help="Only what is about the account with this id.")] = None,
    outcome: Annotated[str, typer.Option(help="Only success or failure.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List entries, newest first; this is recorded too."""
    query = AuditQuery(limit=limit, action=action, user_id=user, outcome=outcome)
    page: AuditPage = ask(lambda auth: auth.audit_log(query))
    if as_json:
        put(to_plain(page))
        return
    rows = [
        (
            str(each.seq),
            each.at.isoformat("T", "seconds"),
            each.action,
            each.outcome,
            each.reason,
            each.actor,
            str(each.user_id or ""),
            each.ip_address,
        )
        for each in page.items
    ]
    table("Audit log", ("seq", "time", "action", "outcome", "reason", "actor", "about", "from"), rows)


def ask(question: Callable[[Auth], Awaitable[T]]) -> T:
    """The answer of auth on the configured database; what is wrong is said, with exit code 1."""

    async def run() -> T:
        # Imported late: help and completion need no platform.
        from orion_core.cli.embed import serving

        async with serving("auth") as platform:
            return await question(platform.service(Auth))

    try:
        return asyncio.run(run())
    except (Error, StartRefused) as error:
        fail(problems_of(error) or [str(error)])
        raise typer.Exit(1) from error


def _anchors(file: Path | None) -> tuple[AuditAnchor, ...]:
    if file is None:
        return ()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return tuple(codec.loads(line, AuditAnchor) for line in lines if line.strip())
    except OSError as error:
        raise Invalid(f"--anchor: {file} cannot be read: {error.strerror}") from error
    except (Invalid, UnicodeDecodeError) as error:
        raise Invalid(f"--anchor: {file} holds no anchors: take a file that orion audit anchor wrote") from error
