"""A name for what somebody signed in with, made of its User-Agent. Pure."""

from __future__ import annotations

# In the order in which they are looked for: many browsers also name the one that they descend from.
_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def device(user_agent: str) -> str:
    """A name for people, such as ``Firefox on Linux``; the first word for programs, empty if nothing is known.

    The client says what it likes, so this helps its owner to tell sessions apart and proves nothing.
    """
    program = _first(user_agent, _PROGRAMS)
    system = _first(user_agent, _SYSTEMS)
    if program and system:
        return f"{program} on {system}"
    return program or user_agent.partition(" ")[0].partition("/")[0][:64]


def _first(user_agent: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((name for mark, name in names if mark in user_agent), "")
