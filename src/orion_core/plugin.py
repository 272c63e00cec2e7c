"""A plugin is data: one synchronous hook returns a `Plugin` that describes a service.

::

    @hookimpl
    def orion_plugin() -> Plugin:
        return Plugin("referrals", service=ReferralsService, routes=[ReferralRoutes], ...)

pluggy finds and registers plugins and does nothing else. ORION's own come through the same door as a third party's: the
entry-point group ``orion.plugins``, one module each.
"""

from __future__ import annotations

import importlib.metadata
import re
import types
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import pluggy

from orion_core.contract import Contract, contract_of
from orion_core.events import Listener, listeners
from orion_core.jobs import JobType, job_types
from orion_core.ports.cache import Cache
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock
from orion_core.ports.identity import Identity
from orion_core.ports.limits import Limits

if TYPE_CHECKING:
    import typer

    from orion_core.settings import Settings
    from orion_core.web.route_table import RouteTable

C = TypeVar("C", bound=Contract)
GROUP = "orion.plugins"
hookspec = pluggy.HookspecMarker("orion")
hookimpl = pluggy.HookimplMarker("orion")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


class Host(Protocol):
    """What a plugin that wraps the application of its host gets to know of it."""

    @property
    def settings(self) -> Settings:
        """The host's settings."""
        ...

    @property
    def prefixes(self) -> Mapping[str, str]:
        """Every public path prefix of the deployment with the service that answers under it."""
        ...

    @property
    def served(self) -> Collection[str]:
        """The services of this process."""
        ...

    @property
    def installed(self) -> Mapping[str, Plugin]:
        """All installed plugins by name, served here or not."""
        ...

    @property
    def identity(self) -> Identity:
        """What verifies access tokens."""
        ...

    @property
    def limits(self) -> Limits:
        """What counts requests, opened when first asked for."""
        ...

    @property
    def route_table(self) -> RouteTable:
        """What the routes of all installed plugins declare, served here or not; made anew each time."""
        ...

    @property
    def cache(self) -> Cache:
        """The cache of the deployment; usable while the host is open."""
        ...

    @property
    def clock(self) -> Clock:
        """The host's clock, which tests may move."""
        ...

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Await `callback` when the host stops, before databases and bus are closed."""
        ...

    def watch(self, name: str, probe: Callable[[], Awaitable[Check]]) -> None:
        """Let the host's readiness report `probe` as `name`; the worst it counts for is a warning."""
        ...


def _types(given: Iterable[type]) -> tuple[type, ...]:
    return tuple(given)


def _searchables(given: Iterable[Searchable]) -> tuple[Searchable, ...]:
    return tuple(given)


def _kinds(given: Iterable[PreferenceKind]) -> tuple[PreferenceKind, ...]:
    return tuple(given)


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen(kw_only=True)
class Searchable:
    """What of a service can be found by the search service: one index, fed by events.

    `documents` maps event classes to functions that make the document of an event (the fields it knows, as a dict with
    the key ``id``), `removals` event classes to functions that give the id of a document that is gone; the newest event
    of a subject counts, so the events of one document have one subject. `text` are the fields that are searched with
    their weights, `filterable` those that filters and sorting may name with their types (str, int, float, bool,
    datetime, date or UUID; times and ids are text in the document), `owner` the field with the id of the person the
    document belongs to. Whoever holds `permission` sees everything; others see documents of their own, and the fields
    in `open_to_all` of all others if there are any. `personal` are the fields that describe the person: it is recorded
    whom they are shown to. `pages` names an operation of the contract that gives documents page by page, for a rebuild:
    it takes a cursor and answers a value with `documents` (a tuple of `Json`) and `next_cursor`.
    """

    index: str
    documents: Mapping[type, Callable[[Any], Mapping[str, Any]]]
    removals: Mapping[type, Callable[[Any], str]] = attrs.field(factory=dict)
    text: Mapping[str, float] = attrs.field(factory=dict)
    filterable: Mapping[str, type] = attrs.field(factory=dict)
    owner: str = ""
    permission: str = ""
    open_to_all: Sequence[str] = attrs.field(default=(), converter=_texts)
    personal: Sequence[str] = attrs.field(default=(), converter=_texts)
    pages: str = ""


@attrs.frozen
class Sealed:
    """A column of texts from `orion_core.sealing.seal`, so that they can be encrypted anew with another key.

    Each is bound to ``Where(table, str(row's key), column)``; `key` is the column of the primary key.
    """

    table: str
    column: str
    key: str = "id"


@attrs.frozen(kw_only=True)
class PreferenceKind:
    """One preference that a plugin declares: its dotted `key`, its type, its default, and what may be chosen.

    `type` is string, integer, number, boolean, timestamp or json. The value of a `private` one never leaves in events.
    """

    key: str
    type: str
    default: Any = None
    allowed: Sequence[Any] = attrs.field(default=(), converter=tuple)
    private: bool = False


@attrs.frozen(kw_only=True)
class Plugin:
    """One service described as data.

    `name` names it everywhere: paths, settings, queues, database. `service` keeps a contract of the same name; its
    typed fields are its needs. `routes` are Litestar controllers below ``/api/v1/<name>``; `prefixes` are public paths
    beside that. `tables` are Piccolo tables and `migrations` the package of their migrations. `settings` is a frozen
    attrs class filled from ``ORION_<NAME>_*``. `permissions` are names ``resource:action`` that its routes ask for.
    `checks` are more health checks by name, given the service. `searchable` is what the search service may find of it,
    `preferences` what people may set of it. `sealed` are the columns of its tables that hold secrets, encrypted. `asgi`
    wraps the application of the whole host, given it and the `Host`; at most one plugin may give it. `port` is where a
    process with this service alone listens.
    """

    name: str = attrs.field(kw_only=False)
    service: type[Contract] | None = None
    routes: Sequence[type] = attrs.field(default=(), converter=_types)
    tables: Sequence[type] = attrs.field(default=(), converter=_types)
    migrations: str = ""
    settings: type | None = None
    permissions: Sequence[str] = attrs.field(default=(), converter=_texts)
    prefixes: Sequence[str] = attrs.field(default=(), converter=_texts)
    checks: Mapping[str, Callable[[Any], Awaitable[Check]]] = attrs.field(factory=dict)
    searchable: Sequence[Searchable] = attrs.field(default=(), converter=_searchables)
    preferences: Sequence[PreferenceKind] = attrs.field(default=(), converter=_kinds)
    sealed: Sequence[Sealed] = attrs.field(default=(), converter=tuple[Sealed, ...])
    asgi: Callable[[Any, Host], Any] | None = None
    port: int = 0

    @name.validator
    def _check_name(self, _: Any, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a plugin's name is lower case, 1 to 31 letters, digits and _, not {name!r}")

    def __attrs_post_init__(self) -> None:
        if self.service is not None and contract_of(self.service).contract_name != self.name:
            kept = contract_of(self.service).contract_name
            raise ValueError(f"the plugin {self.name} serves the contract {kept}: give both the same name")
        if self.tables and not self.migrations:
            raise ValueError(f"the plugin {self.name} has tables but names no package of migrations")
        if self.tables and self.service is None:
            raise ValueError(f"the plugin {self.name} has tables but no service that could use them")
        names = {table._meta.tablename for table in self.tables}  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
        for each in self.sealed:
            if each.table not in names:
                raise ValueError(f"the plugin {self.name} has a sealed column in {each.table}, which is no table of it")
        for prefix in self.prefixes:
            if not re.fullmatch(r"(/[^/?#\s]+)+", prefix):
                raise ValueError(
                    f"the plugin {self.name} has the prefix {prefix!r}: write it as /path without / at the end"
                )

    @property
    def contract(self) -> type[Contract] | None:
        """The contract that its service keeps."""
        return None if self.service is None else contract_of(self.service)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The listeners of its service."""
        return () if self.service is None else listeners(self.service, self.name)

    @property
    def jobs(self) -> Mapping[str, JobType]:
        """The jobs of its service, by method name."""
        return {} if self.service is None else job_types(self.service)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every public prefix it answers under."""
        return (f"/api/v1/{self.name}", *self.prefixes)


@attrs.frozen
class Catalogue:
    """What all installed plugins declare about themselves; a need of this type is filled for services that work for all
    others, such as search."""

    plugins: Mapping[str, Plugin]

    @property
    def searchable(self) -> Mapping[str, tuple[str, Searchable]]:
        """Every index with the service it belongs to."""
        return {item.index: (name, item) for name, plugin in self.plugins.items() for item in plugin.searchable}

    @property
    def preferences(self) -> Mapping[str, PreferenceKind]:
        """Every declared preference by key."""
        return {item.key: item for plugin in self.plugins.values() for item in plugin.preferences}

    @property
    def contracts(self) -> Mapping[str, type[Contract]]:
        """Every contract by the name of its service."""
        return {name: plugin.contract for name, plugin in self.plugins.items() if plugin.contract is not None}


class Services(Protocol):
    """Reaches any contract by its class; a need of this type is filled for services that find out at run time whom they
    ask: the owners of what can be searched page by page, and nobody else, so that circles of calls are still found.
    """

    def service(self, contract: type[C]) -> C:
        """What `contract` promises, wherever it is kept."""
        ...


class Hooks:
    """The hooks a plugin module may implement. All are synchronous and only register data."""

    @hookspec
    def orion_plugin(self) -> Plugin:  # type: ignore[empty-body]  # a specification has no body
        """Describe the service of this module."""

    @hookspec
    def orion_commands(self, cli: typer.Typer) -> None:
        """Add commands to the command line, as a group named after what they are about (``orion users ...``)."""


@attrs.frozen
class Broken:
    """A plugin that could not be loaded, and why."""

    name: str
    reason: str


@attrs.frozen
class Discovery:
    """What was found: plugins by name, the modules they came from, and those that could not be loaded."""

    plugins: Mapping[str, Plugin]
    modules: Mapping[str, object]
    broken: tuple[Broken, ...] = ()
    clashes: tuple[str, ...] = ()

    def commands(self, cli: typer.Typer) -> tuple[Broken, ...]:
        """Let every plugin add its commands to `cli`; returns those that failed."""
        failed = []
        for name, module in self.modules.items():
            try:
                manager = _manager()
                manager.register(module, name)
                manager.hook.orion_commands(cli=cli)
            except Exception as error:
                failed.append(Broken(name, f"{type(error).__name__}: {error}"))
        return tuple(failed)


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("orion")
    manager.add_hookspecs(Hooks)
    return manager


def discover(names: Iterable[str] | None = None, extra: Iterable[Plugin | types.ModuleType] = ()) -> Discovery:
    """Find the installed plugins, all or only `names`, and add `extra` ones that are not installed.

    A plugin that fails to load is reported in `broken` and takes no other down.
    """
    wanted = None if names is None else set(names)
    plugins: dict[str, Plugin] = {}
    modules: dict[str, object] = {}
    broken: list[Broken] = []
    clashes: list[str] = []

    def add(label: str, plugin: Plugin, module: object) -> None:
        if plugin.name in plugins:
            clashes.append(
                f"two plugins claim the name {plugin.name!r}: {_origin(modules[plugin.name])} and {_origin(module)}; "
                "uninstall one of them"
            )
        elif wanted is None or plugin.name in wanted or label in wanted:
            plugins[plugin.name] = plugin
            modules[plugin.name] = module

    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    for point in points:
        if wanted is not None and point.name not in wanted:
            continue
        try:
            module = point.load()
            add(point.name, _describe(module, point.name), module)
        except Exception as error:
            broken.append(Broken(point.name, f"{type(error).__name__}: {error}"))
    for item in extra:
        if isinstance(item, Plugin):
            add(item.name, item, item)
        else:
            add(item.__name__, _describe(item, item.__name__), item)
    return Discovery(plugins, modules, tuple(broken), tuple(clashes))


def _describe(module: object, label: str) -> Plugin:
    # One manager per plugin: pluggy stops at the first implementation that raises, and would not say whose it was.
    manager = _manager()
    manager.register(module, label)
    manager.check_pending()
    described = manager.hook.orion_plugin()
    if len(described) != 1 or not isinstance(described[0], Plugin):
        raise TypeError(f"{label} must implement the hook orion_plugin and return one Plugin")
    return described[0]


def _origin(module: object) -> str:
    return getattr(module, "__name__", None) or type(module).__name__


def under(prefixes: Mapping[str, str], path: str) -> str | None:
    """The service whose prefix covers `path` in whole segments; the longest prefix wins."""
    best = ""
    for prefix in prefixes:
        if len(prefix) > len(best) and path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
            best = prefix
    return prefixes.get(best)
