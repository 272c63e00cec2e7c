"""The project's commands: `nox` runs everything, `nox -s tests` one part, `nox -s tests -- -k word` some of it."""

from __future__ import annotations

import nox

# Not uv: it keeps the package it built before for as long as pyproject.toml stays the same.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests", "migrations", "examples", "processes", "chaos"]

DEV = nox.project.load_toml("pyproject.toml")["dependency-groups"]["dev"]
QUIET = ("-q", "--no-header")
SIDE_BY_SIDE = ("-n", "auto", "--dist", "worksteal")
ELSEWHERE = ("--ignore=tests/chaos", "--ignore=tests/examples", "--ignore=tests/migrations")
"""Tests that have a session of their own."""
TYPED = (
    "hosts/app.py",
    "examples/quickstart.py",
    "examples/tour.py",
    "examples/embed_in_your_app/litestar_app.py",
    "examples/referrals/src/acme_referrals",
)
"""What is read as an example is as strictly typed as the library, seen from outside."""


def install(session: nox.Session) -> None:
    """The package as its users install it, and what the tests need beside it."""
    session.install(".", *DEV)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, imports and the rules of who may import whom."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types."""
    session.install("-e", ".", *DEV)
    session.run("mypy")
    session.run("mypy", *TYPED)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that needs no processes of its own: both reaches in process, adapters, house rules."""
    install(session)
    session.run("pytest", *QUIET, *SIDE_BY_SIDE, "-m", "not processes", *ELSEWHERE, *session.posargs)


@nox.session
def migrations(session: nox.Session) -> None:
    """Tables and migrations agree, and every migration goes up and down on SQLite and on PostgreSQL."""
    install(session)
    session.run("pytest", *QUIET, "tests/migrations", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """The examples do what they say, the third-party plugin installed by pip."""
    install(session)
    session.install("./examples/referrals")
    session.run("pytest", *QUIET, "tests/examples", "examples/referrals/tests", *session.posargs)


@nox.session
def processes(session: nox.Session) -> None:
    """The same scenarios against real processes on PostgreSQL, Redis and RabbitMQ; the command line; outages."""
    install(session)
    session.run("pytest", *QUIET, "-m", "processes", *ELSEWHERE, *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """`kill -9` at random under load, in every service: 10 kills per stack, 100 with `nox -s chaos -- --full`."""
    install(session)
    posargs = list(session.posargs)
    kills = "100" if "--full" in posargs else "10"
    posargs = [argument for argument in posargs if argument != "--full"]
    session.run("pytest", *QUIET, "-s", "tests/chaos", *posargs, env={"ORION_TEST_KILLS": kills})


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Figures of time, rate and memory, reported and never asserted."""
    install(session)
    session.run("python", "benchmarks/footprint.py", *session.posargs)
    session.run("python", "benchmarks/big_file.py")
    session.run("python", "benchmarks/search.py")
    session.run("python", "benchmarks/limits.py")
    session.install("-r", "benchmarks/peers/fastapi_users/requirements.txt")
    session.run("python", "benchmarks/front_door.py")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write the generated reference pages anew."""
    install(session)
    session.run("python", "docs/generate.py")
