"""The documentation is true: written from the code where that can be, run or compared where it shows code.

A fenced block says in its first line what is done with it:

- ``python run``: run as a program in an empty folder; a ``text output`` block behind it is what it prints
- ``python test``: run by pytest
- ``python from=path``: an excerpt of that file, indented as one likes
"""

from __future__ import annotations

import functools
import importlib
import itertools
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import pytest
import typer
from typer.core import TyperGroup

from orion_core import composition
from orion_core.cli import command_line
from orion_core.events import event_type
from orion_core.plugin import Hooks
from orion_core.ports.bus import Bus

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Block(NamedTuple):
    """One fenced block."""

    page: Path
    info: str
    body: str
    output: str | None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.body.splitlines()[0] if self.body else ''}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        found = [
            (match["info"].strip(), textwrap.dedent(match["body"]))
            for match in _FENCE.finditer(page.read_text(encoding="utf-8"))
        ]
        for (info, body), following in itertools.zip_longest(found, found[1:], fillvalue=("", "")):
            yield Block(page, info, body, following[1] if following[0] == "text output" else None)


@functools.cache
def generator() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module("generate")
    finally:
        sys.path.remove(str(DOCS))


@functools.cache
def rendered() -> dict[str, str]:
    pages: dict[str, str] = generator().render()
    return pages


def headings(path: Path) -> list[str]:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return re.findall(r"(?m)^#+ +(.*?) *$", text)


def anchors(path: Path) -> set[str]:
    found: set[str] = set()
    for heading in headings(path):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = itertools.count(1)
        unique = anchor
        while unique in found:
            unique = f"{anchor}-{next(count)}"
        found.add(unique)
    return found


def prose_of(path: Path) -> str:
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


# What is generated


def test_the_generated_pages_say_what_the_code_says() -> None:
    stale = [
        name
        for name, text in rendered().items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != text
    ]
    mark = generator().MARK
    left = [
        str(path.relative_to(REFERENCE))
        for path in REFERENCE.rglob("*.md")
        if path.read_text(encoding="utf-8").startswith(mark) and str(path.relative_to(REFERENCE)) not in rendered()
    ]

    assert not stale + left, (
        f"a reference that lags behind the code is worse than none; write it anew with nox -s docs: {stale + left}"
    )


def test_pages_come_out_the_same_every_time() -> None:
    assert generator().render() == rendered(), (
        "a page that differs from run to run fails for no reason: sort what has no order, and name no folder or time"
    )


def test_everything_public_has_a_heading() -> None:
    plugins = generator().own().plugins
    wanted: dict[str, set[str]] = {}
    for name, plugin in plugins.items():
        page = wanted.setdefault(f"services/{name}.md", {name})
        if plugin.contract is None:
            continue
        page.add(f"Contract `{plugin.contract.__name__}`")
        page |= {f"`{name}.{operation}`" for operation in plugin.contract.__abstractmethods__}
        told = set(composition.tells(plugin))
        wanted.setdefault("events.md", set()).update(told)
    wanted["errors.md"] = {error.code for error in generator().errors()}
    wanted["settings.md"] = {each["name"] for each in generator().known(generator().own())}
    wanted["ports.md"] = {port.__name__ for port in (*composition.PORTS, Bus)}
    wanted["plugin.md"] = {f"`{name}`" for name in vars(Hooks) if name.startswith("orion_")} | {"`Plugin`"}

    missing = {
        page: sorted(names - set(headings(REFERENCE / page)))
        for page, names in wanted.items()
        if names - set(headings(REFERENCE / page))
    }

    assert not missing, f"what has no heading is not found by those who look for its name: {missing}"


def test_every_event_that_a_listener_names_is_on_the_page_of_events() -> None:
    heard = {
        event_type(cls).name
        for plugin in generator().own().plugins.values()
        for listener in plugin.listeners
        for cls in listener.events
    }

    assert heard <= set(headings(REFERENCE / "events.md")), "a listener of an event that nobody documents"


def test_every_setting_says_what_it_is_for() -> None:
    silent = [each["name"] for each in generator().known(generator().own()) if not each["help"]]

    assert not silent, f'a setting without metadata={{"help": ...}} can only be guessed at: {silent}'


def test_every_field_of_the_manifest_stands_in_its_docstring() -> None:
    text = generator().Plugin.__doc__

    missing = [field.name for field in attrs.fields(generator().Plugin) if f"`{field.name}`" not in text]

    assert not missing, f"authors of plugins read the docstring of Plugin, and find nothing on {missing}"


# What is written by hand


def test_links_lead_somewhere() -> None:
    """Between files, and to headings in them."""
    broken = []
    for page in PAGES:
        for match in _LINK.finditer(prose_of(page)):
            target, _, anchor = match["target"].partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            path = (page.parent / target).resolve() if target else page
            if not path.exists():
                broken.append(f"{page.relative_to(ROOT)} → {match['target']}: no such file")
            elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                broken.append(f"{page.relative_to(ROOT)} → {match['target']}: no such heading")

    assert not broken, "a reader who follows a dead link gives up:\n" + "\n".join(broken)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        waiting += [
            (page.parent / match["target"].partition("#")[0]).resolve()
            for match in _LINK.finditer(prose_of(page))
            if "://" not in match["target"]
        ]
    fragments = [page for page in (DOCS / "changelog").glob("*.md") if page.name != "README.md"]
    lost = [str(page.relative_to(ROOT)) for page in PAGES if page not in reached and page not in fragments]

    assert not lost, f"a page that no other one names is found by nobody: {lost}"


def test_excerpts_are_what_the_file_says() -> None:
    """Indentation and empty lines may differ, since an excerpt is shown from the left margin."""
    wrong = []
    for block in blocks():
        if "from=" not in block.info:
            continue
        path = ROOT / block.info.partition("from=")[2].split()[0]
        wanted = _plain(block.body.splitlines())
        lines = (
            [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []
        )
        windows = (lines[start : start + len(wanted)] for start in range(len(lines)))
        if wanted not in (_plain(window) for window in windows):
            wrong.append(f"{block.where} is not in {path.relative_to(ROOT)}")

    assert not wrong, "code in a text that is not the code in the repository teaches what does not work:\n" + "\n".join(
        wrong
    )


def _plain(lines: list[str]) -> list[str]:
    return [line for line in textwrap.dedent("\n".join(lines)).splitlines() if line.strip()]


def test_programs_in_the_docs_run_and_print_what_they_say(tmp_path: Path) -> None:
    programs = [block for block in blocks() if block.info == "python run"]

    def run(block: Block, folder: Path) -> str:
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", block.body], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            return f"{block.where} fails:\n{done.stderr}"
        if block.output is not None and done.stdout.strip() != block.output.strip():
            return f"{block.where} prints\n{done.stdout}instead of\n{block.output}"
        return ""

    with ThreadPoolExecutor(2) as pool:
        wrong = list(filter(None, pool.map(run, programs, [tmp_path / str(number) for number in range(len(programs))])))

    assert programs, "the first thing a reader does with an example is to run it; none is marked `python run`"
    assert not wrong, "the first thing a reader does with an example is to run it:\n" + "\n".join(wrong)


def test_tests_in_the_docs_pass(tmp_path: Path) -> None:
    for number, block in enumerate(block for block in blocks() if block.info == "python test"):
        (tmp_path / f"test_{block.page.stem.replace('-', '_')}_{number}.py").write_text(block.body, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-W", "error", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, f"a test that is shown as an example has to pass:\n{done.stdout}{done.stderr}"


@functools.cache
def commands() -> Any:
    return typer.main.get_command(command_line())


def test_commands_in_the_docs_exist() -> None:
    """Each line that begins with ``orion`` in a block of shell, and each ``orion …`` in the text."""
    wrong = []
    for page in PAGES:
        if "requirements" in page.parts:
            # These pages name what is to come, too.
            continue
        text = page.read_text(encoding="utf-8")
        shell = "\n".join(
            match["body"] for match in _FENCE.finditer(text) if match["info"].strip() in ("sh", "console")
        )
        lines = re.findall(r"(?m)^\s*(?:\$ )?(?:pip install \. && )?orion +([a-z-].*)$", shell)
        lines += re.findall(r"`orion +([a-z-][^`]*)`", _FENCE.sub("", text))
        wrong += [f"{page.relative_to(ROOT)}: orion {line}: {why}" for line in lines if (why := _unknown(line))]

    assert not wrong, "a command that does not exist stops a reader at once:\n" + "\n".join(wrong)


def _unknown(line: str) -> str:
    words = re.split(r"\s+(?:#|>|\|)|  +|…|\.\.\.", line)[0].split()
    command = commands()
    while words and isinstance(command, TyperGroup) and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.commands.get(name)
        if found is None:
            return f"there is no command {name}"
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    strange = [word for word in words if word.startswith("-") and word.split("=")[0] not in options | {"--help", "-h"}]
    return f"there is no option {', '.join(strange)}" if strange else ""


@pytest.mark.parametrize("line", ["fly", "run --sideways", "migrate sideways"])
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    assert _unknown(line)


OTHERS = ("ORION_TEST_", "ORION_REFERRALS_")
"""Settings of tests, and of the example."""


def test_settings_in_the_docs_exist() -> None:
    known = {each["name"] for each in generator().known(generator().own())}
    wrong = []
    for page in PAGES:
        if "decisions" in page.parts or "requirements" in page.parts:
            continue
        named = re.findall(r"\bORION_[A-Z0-9_]*[A-Z0-9]\b(?!_\*|_<|…)", page.read_text(encoding="utf-8"))
        strange = [name for name in named if name not in known and not name.startswith(OTHERS)]
        wrong += [f"{page.relative_to(ROOT)}: {name}" for name in strange]

    assert not wrong, "an unknown ORION_ variable refuses the start, so no page may name one:\n" + "\n".join(wrong)


def test_nox_sessions_in_the_docs_exist() -> None:
    sessions = set(re.findall(r"(?m)^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8")))
    named = {
        (page.relative_to(ROOT), name)
        for page in PAGES
        for name in re.findall(r"nox -s (\w+)", page.read_text(encoding="utf-8"))
    }

    assert not {pair for pair in named if pair[1] not in sessions}, "a session that is no session stops a contributor"


def test_fragments_of_the_changelog_have_a_kind_and_a_sentence() -> None:
    kinds = "added|changed|fixed|removed|security"
    wrong = [
        path.name
        for path in (DOCS / "changelog").iterdir()
        if path.name != "README.md"
        and not (re.fullmatch(rf"[a-z0-9-]+\.({kinds})\.md", path.name) and path.read_text(encoding="utf-8").strip())
    ]

    assert not wrong, f"a fragment that does not say what kind of change it is gets lost at the release: {wrong}"
