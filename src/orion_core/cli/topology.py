"""``orion topology``: who serves, calls, tells and hears what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orion_core.cli.console import out, put, say

if TYPE_CHECKING:
    from orion_core.topology import Topology


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog="Example:  orion topology --mermaid > topology.mmd")(topology)


def topology(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who serves, calls, tells and hears what, over all installed plugins, and what is forwarded outside. Starts
    nothing."""
    from orion_core.cli.configured import configured
    from orion_core.topology import topology as read

    known = configured(joining=False)
    found = read(known.discovery.plugins, known.settings)
    if as_json:
        put(found.as_plain())
    elif mermaid:
        say(found.mermaid())
    else:
        _print_tree(found)


def _print_tree(found: Topology) -> None:
    from rich.tree import Tree

    from orion_core.topology import HEARD_BY_HOSTS

    root = Tree(f"[bold]{len(found.nodes)} services[/bold]")
    hearers: dict[str, list[str]] = {event: ["every host"] for event in HEARD_BY_HOSTS}
    for told in found.events:
        hearers.setdefault(told.event, []).append(told.hearer)
    for node in found.nodes.values():
        keeps = f" keeps {node.contract}" if node.contract else ""
        branch = root.add(f"[bold cyan]{node.name}[/bold cyan]{keeps}" + (f", port {node.port}" if node.port else ""))
        if node.paths:
            branch.add(f"answers {', '.join(node.paths)}")
        for asked in node.asks:
            branch.add(f"[green]asks[/green] {asked}" + ("" if asked in found.nodes else " [red](not installed)[/red]"))
        for event in node.tells:
            heard = ", ".join(hearers.get(event, [])) or "nobody listens"
            branch.add(f"[yellow]tells[/yellow] {event} [dim]→ {heard}[/dim]")
        for each in node.hears:
            events = ", ".join(each.events) or "everything"
            branch.add(f"[magenta]hears[/magenta] {events} [dim]by {each.queue}[/dim]")
        for lead in found.outside.get(node.name, ()):
            branch.add(f"[blue]forwards[/blue] {lead.prefix} to {lead.name} [dim]at {' '.join(lead.urls)}[/dim]")
    out.print(root, soft_wrap=True)
