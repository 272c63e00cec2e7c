"""The platform: a set of plugins running together. The one place where everything is put together.

::

    async with Platform.load("auth", "users", settings=Settings(data_dir="var")) as orion:
        account = await orion.service(Auth).register(Register("ada@x.org", "correct horse battery", "Ada"))

    app = Platform.from_env().asgi()            # for any ASGI server

Start: choose → open → migrate or check → build → relay → jobs → listen → ready. Stop: in reverse, intake first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
from collections import ChainMap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Literal, Self, TypeVar, cast
from uuid import UUID

import httpx

from orion_core import calls, composition, production
from orion_core.adapters import choose
from orion_core.adapters.system_clock import SystemClock
from orion_core.auditing import recorded
from orion_core.authorization import GrantedAuthorization
from orion_core.background import together
from orion_core.bearer import bearer_token
from orion_core.calls import CallKeys, CallRouter
from orion_core.context import ANONYMOUS, Actor, Context, use
from orion_core.contract import Call, Contract, Operation, stub
from orion_core.contracts.auth import AUDIENCE, Auth
from orion_core.contracts.platform import RequestsMeasured
from orion_core.erasure import Erasure
from orion_core.errors import Error, StartRefused, Unauthenticated
from orion_core.events import Events, Listener, event_type
from orion_core.housekeeping import purging
from orion_core.identity import TokenIdentity
from orion_core.inbox import receive
from orion_core.jobs import Jobs
from orion_core.keyring import Keyring
from orion_core.migrate import MigrationApp, pending, up
from orion_core.observability.requests import RequestMeter, RequestReporter
from orion_core.outbox import Outbox, Relay
from orion_core.plugin import Catalogue, Discovery, Plugin, Services, discover, under
from orion_core.ports.authorization import Authorization
from orion_core.ports.blobs import Blobs
from orion_core.ports.bus import Bus, Delivery, Subscription
from orion_core.ports.cache import Cache
from orion_core.ports.check import Check
from orion_core.ports.clock import Clock
from orion_core.ports.database import Database, DatabaseUnavailable, in_transaction
from orion_core.ports.identity import Identity
from orion_core.ports.limits import Limits
from orion_core.ports.mail import Mail
from orion_core.ports.purge import Purge
from orion_core.queue import JobQueue
from orion_core.resealing import Resealing
from orion_core.settings import Settings, from_env
from orion_core.topology import HEARD_BY_HOSTS
from orion_core.web.app import build, face
from orion_core.web.asgi import App, Receive, Scope, Send
from orion_core.web.client_ip import networks
from orion_core.web.edge import edge
from orion_core.web.health import HEALTH_READ, LIMIT, Health, Supporting
from orion_core.web.host import run_lifespan, unmounted, with_fixed, without
from orion_core.web.route_table import RouteTable

log = logging.getLogger("orion.platform")
C = TypeVar("C", bound=Contract)
Reach = Literal["local", "wire"]

VERSION = importlib.metadata.version("orion-platform")


class Platform:
    """A set of plugins with their databases, bus and calls. Make one with `load` or `from_env`, then enter it.

    Only one may be open in a process: Piccolo keeps the engine of a table in the table's class.
    """

    _live: ClassVar[Platform | None] = None

    def __init__(
        self,
        discovery: Discovery,
        names: Iterable[str],
        settings: Settings,
        *,
        clock: Clock | None = None,
        reach: Reach = "local",
        strict: bool = False,
        work: bool = True,
    ) -> None:
        """`names` are the plugins to serve, all if empty. `strict` refuses contracts that nobody serves. With
        `work=False` nothing runs by itself: no listeners, relays or jobs (for the command line)."""
        self.settings = settings
        self.discovery = discovery
        self.plugins = composition.chosen(discovery, names)
        self.clock: Clock = SystemClock() if clock is None else clock
        self.health = Health()
        self.services: dict[str, Contract] = {}
        self.databases: dict[str, Database] = {}
        self.outboxes: dict[str, Outbox] = {}
        self.queues: dict[str, JobQueue] = {}
        self._reach = reach
        self._strict = strict
        self._work = work
        self._calls: dict[str, Call] = {}
        self._stubs: dict[type[Contract], Contract] = {}
        self._relays: list[Relay] = []
        self._leaving: list[Callable[[], Awaitable[None]]] = []
        self._stack = contextlib.AsyncExitStack()
        self._app: App | None = None
        self._serves = False
        self._blobs: Blobs | None = None
        self._purge: Purge | None = None
        self._limits: Limits | None = None
        self._watched: dict[str, Any] = {}
        self._wrapping = next((name for name, plugin in self.plugins.items() if plugin.asgi), "")
        self._meter = RequestMeter(self.prefixes, self._wrapping or next(iter(self.plugins), ""))
        self._reporter: RequestReporter | None = None
        self._open = False
        self._check()

    @classmethod
    def load(
        cls,
        *names: str,
        settings: Settings | None = None,
        plugins: Iterable[Plugin | ModuleType] = (),
        **options: Any,
    ) -> Self:
        """A platform of the installed plugins called `names` (all if none), and of `plugins` that are not installed.

        `options` are those of the constructor. Raises `StartRefused`.
        """
        extra = list(plugins)
        discovery = discover(extra=extra)
        given = [name for name, module in discovery.modules.items() if any(module is item for item in extra)]
        return cls(discovery, [*names, *given] if names else [], settings or Settings(), **options)

    @classmethod
    def from_env(
        cls,
        *names: str,
        env: Mapping[str, str] | None = None,
        split: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Self:
        """A platform by the settings in `env` (the process's environment) and orion.toml; raises `StartRefused`."""
        discovery = discover()
        settings = from_env(discovery, env=env, split=split)
        return cls(discovery, names, settings, **options)

    # What it is made of

    @property
    def deployment(self) -> tuple[str, ...]:
        """All services of the deployment: those served here, the peers, and those the settings name."""
        return tuple(dict.fromkeys((*self.settings.services, *self.plugins, *self.settings.peers)))

    @property
    def absent(self) -> Mapping[str, str]:
        """Contracts that are neither served here nor by a peer, with the reason."""
        known = {
            plugin.name: "installed but not served" for plugin in self.discovery.plugins.values() if plugin.contract
        }
        wanted = {
            contract.contract_name: "not installed" for p in self.plugins.values() for contract in composition.asks(p)
        }
        away = {**wanted, **known}
        return {name: why for name, why in away.items() if name not in self.plugins and name not in self.settings.peers}

    @property
    def served(self) -> tuple[str, ...]:
        """The services of this process."""
        return tuple(self.plugins)

    @property
    def installed(self) -> Mapping[str, Plugin]:
        """All installed plugins by name, served here or not."""
        return self.discovery.plugins

    @property
    def prefixes(self) -> Mapping[str, str]:
        """Every public path prefix of the installed plugins with the service that answers under it."""
        return {path: name for name, plugin in self.discovery.plugins.items() for path in plugin.paths}

    @property
    def routes(self) -> list[type]:
        """The Litestar controllers of the services of this process."""
        return [route for plugin in self.plugins.values() for route in plugin.routes]

    @property
    def route_table(self) -> RouteTable:
        """What the routes of all installed plugins declare, served here or not; made anew each time."""
        known = [route for plugin in self.discovery.plugins.values() for route in plugin.routes]
        return RouteTable.of(known, max_body=self.settings.max_body)

    @property
    def cache(self) -> Cache:
        """The cache of the deployment; usable while the platform is open."""
        return cast(Cache, _Late(lambda: self._cache))

    @property
    def purge(self) -> Purge:
        """How shared caches are told to forget; usable while the platform is open."""
        return cast(Purge, _Late(lambda: self._purge))

    @property
    def contracts(self) -> dict[str, Contract]:
        """All known contracts by name, wherever they are kept."""
        known = self.discovery.plugins.values()
        return {plugin.name: self.service(plugin.contract) for plugin in known if plugin.contract}

    async def actor(self, authorization: str, *, api_keys: bool = False) -> Actor:
        """The person behind the value of an Authorization header, or anonymous for an empty one.

        For applications of other frameworks. Raises `Unauthenticated` for a token that does not count, and for an API
        key unless `api_keys` says that the caller looks at the actor's `scopes`.
        """
        headers = [(b"authorization", authorization.encode("latin-1", "replace"))] if authorization else []
        token = bearer_token(headers)
        actor = await self._identity.verify(token) if token else ANONYMOUS
        if actor.by_key and not api_keys:
            raise Unauthenticated("an API key does not count here: sign in")
        return actor

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Await `callback` when the platform stops, before anything else is closed."""
        self._leaving.append(callback)

    def watch(self, name: str, probe: Callable[[], Awaitable[Check]]) -> None:
        """Let readiness report `probe` as `name`; the worst it counts for is a warning."""
        self._watched[name] = Supporting(probe)

    def service(self, contract: type[C]) -> C:
        """What `contract` promises, wherever it is kept; every caller uses this, inside and outside of the platform."""
        found = self._stubs.get(contract)
        if found is None:
            found = self._stubs[contract] = stub(contract, self._dispatch, in_transaction)
        return cast(C, found)

    def replace(self, contract: type[Contract], call: Call) -> None:
        """From now on reach `contract` by `call`: for tests."""
        self._calls[contract.contract_name] = call

    def wake(self) -> None:
        """Look for work now instead of at the next interval."""
        for relay in self._relays:
            relay.wake()
        for queue in self.queues.values():
            queue.wake()
        if self._reporter is not None:
            self._reporter.wake()

    async def _dispatch(self, operation: Operation, args: dict[str, Any]) -> Any:
        call = self._calls.get(operation.contract)
        if call is None:
            why = self.absent.get(operation.contract, "not installed")
            call = calls.nowhere(operation.contract, why if self._open else "not open yet")
        return await call(operation, args)

    # Start and stop

    async def __aenter__(self) -> Self:
        if Platform._live is not None:
            raise RuntimeError("a platform is open in this process already: close it first")
        Platform._live = self
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        stack = self._stack
        if self._serves and self._app is None:
            self._app = self._compose()
        stack.push_async_callback(self._close_limits)
        self._cache = await choose.open_cache(self.settings, self.clock)
        stack.push_async_callback(self._cache.aclose)
        self._purge = await choose.open_purge(self.settings, self._cache, self.clock)
        stack.push_async_callback(self._purge.aclose)
        self._mail = await choose.open_mail(self.settings)
        stack.push_async_callback(self._mail.aclose)
        if any({Blobs, Purge} & set(composition.needs(plugin).values()) for plugin in self.plugins.values()):
            self._blobs = await choose.open_blobs(self.settings, self.clock)
            stack.push_async_callback(self._blobs.aclose)
        # Never the environment's proxies: calls between hosts stay inside.
        self._client = httpx.AsyncClient(
            trust_env=False, timeout=calls.TIMEOUT, limits=httpx.Limits(max_connections=200)
        )
        stack.push_async_callback(self._client.aclose)
        applied = 0
        for name, plugin in self.plugins.items():
            if composition.has_database(plugin):
                applied += await self._open_database(name, plugin)
        if applied:
            log.info("applied %d migrations to %d databases", applied, len(self.databases))
        await self._build()
        if self._work:
            await self._run()
        self._open = True
        self.health = self._health()
        self._stack.push_async_callback(self.health.aclose)
        self.health.started = True

    async def _stop(self) -> None:
        self.health.draining = True
        self._open = False
        for callback in self._leaving:
            self._stack.push_async_callback(callback)
        try:
            await self._stack.aclose()
        finally:
            self._stack = contextlib.AsyncExitStack()
            self._app = None
            # Nothing of this life may serve the next one: its databases are closed.
            for kept in (self.services, self.databases, self.outboxes, self.queues, self._calls):
                kept.clear()
            self._relays.clear()
            self._leaving.clear()
            self._watched.clear()
            if Platform._live is self:
                Platform._live = None

    async def _close_limits(self) -> None:
        limits, self._limits = self._limits, None
        if limits is not None:
            await limits.aclose()

    async def _open_database(self, name: str, plugin: Plugin) -> int:
        """Open the database of `plugin`, with its tables in it; returns how many migrations that took."""
        try:
            db = await choose.open_database(self.settings, name)
            self._stack.push_async_callback(db.aclose)
            applied = await self._migrate(name, db, composition.migration_apps(plugin))
        except DatabaseUnavailable as error:
            raise StartRefused([f"the database of {name} cannot be opened: {error.detail}"]) from error
        self.databases[name] = db
        for table in plugin.tables:
            table._meta._db = db.engine  # type: ignore[attr-defined]  # noqa: SLF001 - Piccolo has no public way
        return applied

    async def _migrate(self, name: str, db: Database, apps: Sequence[MigrationApp]) -> int:
        """Apply what is pending, or refuse to start; returns how much was applied."""
        if db.dialect.name == "sqlite":
            if applied := await up(db, apps):
                # One line for each service would be the first screen of a new user.
                log.debug("applied %s to the database of %s", ", ".join(applied), name)
            return len(applied)
        if waiting := await pending(db, apps):
            raise StartRefused(
                [f"the database of {name} lacks {len(waiting)} migration(s); apply them with: orion migrate up {name}"]
            )
        return 0

    async def _build(self) -> None:
        # A peer need not be installed here: its contract may come in a package of its own.
        for name, urls in self.settings.peers.items():
            if name not in self.plugins:
                self._calls.setdefault(name, calls.remote(name, urls, self._client, self._call_keys))
        for name in composition.order(self.discovery.plugins):
            plugin = self.plugins.get(name)
            if plugin is None or plugin.contract is None:
                continue
            service = composition.construct(plugin, functools.partial(self._provide, name))
            if hasattr(service, "__aenter__"):
                await self._stack.enter_async_context(cast(Any, service))
            self.services[name] = service
            self._calls.setdefault(name, calls.wire(service) if self._reach == "wire" else calls.local(service))

    def _provide(self, name: str, kind: type) -> Any:
        plugin = self.plugins[name]
        if kind is Database:
            return self.databases[name]
        if kind is Events:
            return self._outbox(name)
        if kind is Jobs:
            return self._queue(name)
        if kind is Keyring:
            return self._keyring
        if kind is Settings:
            return self.settings
        if kind is Identity:
            return self.identity
        if kind is Authorization:
            return GrantedAuthorization(self.service(Auth))
        if kind is Catalogue:
            return Catalogue(self.discovery.plugins)
        if kind is Services:
            return self
        ports: dict[type, Any] = {
            Blobs: self._blobs,
            Cache: self._cache,
            Clock: self.clock,
            Mail: self._mail,
            Purge: self._purge,
        }
        if kind in ports:
            return ports[kind]
        if kind is plugin.settings:
            return self.settings.of(name, kind)
        return self.service(kind)

    def _outbox(self, name: str) -> Outbox:
        if name not in self.outboxes:
            contract = self.plugins[name].contract
            assert contract is not None
            self.outboxes[name] = Outbox(name, contract, self.databases[name], self.clock)
        return self.outboxes[name]

    def _queue(self, name: str) -> JobQueue:
        if name not in self.queues:
            interval = self.settings.relay_interval
            self.queues[name] = JobQueue(name, self.databases[name], self.clock, interval=interval)
        return self.queues[name]

    @property
    def identity(self) -> Identity:
        """The port that verifies tokens with the help of auth, wherever that is served."""
        return self._identity

    @property
    def limits(self) -> Limits:
        """The port that counts requests, opened when first asked for."""
        if self._limits is None:
            self._limits = choose.open_limits(self.settings, self.clock)
        return self._limits

    async def _run(self) -> None:
        bus = await choose.open_bus(self.settings, self.databases)
        self._bus: Bus | None = bus
        self._stack.push_async_callback(bus.aclose)
        subscriptions = self._subscriptions()
        await bus.declare(subscriptions, self._families())
        heard = {name for subscription in subscriptions for name in subscription.events}
        erasures: dict[str, Erasure] = {}
        # Left in reverse: listeners stop first, then jobs, then the relays, which carry what both still told.
        relays, jobs, listening = self._together(), self._together(), self._together()
        grace = self.settings.shutdown_grace
        for name, db in self.databases.items():
            outbox, queue = self._outbox(name), self._queue(name)
            relay = Relay(name, db, bus, self.settings.relay_interval, heard)
            outbox.wakes(relay.wake)
            erasures[name] = Erasure(db, queue)
            work = purging(name, db) | erasures[name].work(name)
            if resealing := self.resealing(name):
                work |= resealing.work()
            queue.serve(self.services[name], work)
            relay.start()
            relays.append(relay.stop)
            self._relays.append(relay)
            jobs.append(functools.partial(queue.stop, grace))
            await queue.start()
        if event_type(RequestsMeasured).name in heard:
            self._reporter = RequestReporter(self._meter, self.outboxes, self.databases, bus, self.clock)
            self._reporter.start()
            self._stack.push_async_callback(self._reporter.stop)
        for name, service in self.services.items():
            for listener in composition.hears(self.plugins[name]):
                own = listener in self.plugins[name].listeners
                handler = receive(service if own else erasures[name], name, listener, self.databases.get(name))
                consumer = await bus.subscribe(_subscription(listener), handler)
                listening.append(functools.partial(consumer.stop, grace))
        consumer = await bus.subscribe(Subscription("identity.forget", HEARD_BY_HOSTS, broadcast=True), self._forget)
        listening.append(functools.partial(consumer.stop, grace))

    def resealing(self, name: str) -> Resealing | None:
        """What encrypts the sealed columns of the service `name` anew; None if it has none."""
        sealed = self.plugins[name].sealed
        return Resealing(name, self.databases[name], self._keyring, sealed) if sealed else None

    def _together(self) -> list[Callable[[], Awaitable[None]]]:
        """A list of what will be stopped at the same time, to be filled; a list made later is stopped earlier."""
        stops: list[Callable[[], Awaitable[None]]] = []
        self._stack.push_async_callback(together, stops)
        return stops

    async def _forget(self, delivery: Delivery) -> None:
        await self._identity.heard(delivery.envelope)

    def _subscriptions(self) -> list[Subscription]:
        """The queues of all listeners of the deployment: a service that has never run yet loses nothing."""
        return [
            _subscription(listener)
            for name in self.deployment
            if (plugin := self.discovery.plugins.get(name)) is not None
            for listener in composition.hears(plugin)
        ]

    def _families(self) -> list[str]:
        told = [name for plugin in self.discovery.plugins.values() for name in composition.tells(plugin)]
        heard = [
            name
            for plugin in self.discovery.plugins.values()
            for lis in composition.hears(plugin)
            for name in lis.names
        ]
        return sorted({name.partition(".")[0] for name in [*told, *heard]})

    # The HTTP face

    def asgi(self) -> App:
        """The ASGI application of this host. Its lifespan opens the platform unless it is open already."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await run_lifespan(contextlib.nullcontext() if self._open else self, receive, send)
            elif self._app is None or not self._open:
                raise RuntimeError("the platform is not open: run its lifespan, or enter it with 'async with'")
            else:
                await self._app(unmounted(scope), receive, send)

        self._serves = True
        if self._app is None:
            self._app = self._compose()
        return app

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """A lifespan for the application that embeds this platform: ``FastAPI(lifespan=platform.lifespan)``."""
        async with self:
            yield

    def _compose(self) -> App:
        settings = self.settings
        made = build(
            self.routes,
            {**self.contracts, "blobs": _Late(lambda: self._blobs), "purge": self.purge},
            self._identity,
            version=VERSION,
            docs=settings.docs,
            max_body=settings.max_body,
            denied=self._denied,
        )
        faced = face(made, max_body=settings.max_body)
        app = without(faced, {at: name for at, name in self.prefixes.items() if name not in self.plugins})
        for plugin in self.plugins.values():
            if plugin.asgi is not None:
                app = plugin.asgi(app, self)
        router = CallRouter(self.services, self._call_keys) if self._call_keys else None
        return edge(with_fixed(app, self._answer_health, router), networks(settings.trusted_proxies), self._meter.count)

    async def _denied(self, context: Context, path: str, permission: str) -> None:
        """Tell auth, for its audit log, that somebody lacked a permission."""
        name = under(self.prefixes, path) or ""
        if "auth" not in self.deployment or name not in self.databases:
            return
        with use(context):
            try:
                person = UUID(context.actor.id) if context.actor.kind == "user" else None
                now = self.clock.now()
                event = recorded("access_denied", now, outcome="failure", reason=permission, user_id=person)
                async with self.databases[name].transaction():
                    await self._outbox(name).publish(event)
            except Exception:
                # The refusal stands, whether or not it can be told.
                log.exception("a denial in %s could not be told to the audit log", name)

    async def _answer_health(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.health(scope, receive, send)

    def _health(self) -> Health:
        probes: dict[str, MutableMapping[str, Any]] = {name: {} for name in self.plugins}
        for name, plugin in self.plugins.items():
            if name in self.databases:
                probes[name]["database"] = self.databases[name].check
            # The gateway has no service, and needs what its layers use.
            wraps = plugin.asgi is not None
            if self._work and (plugin.listeners or name in self.outboxes or wraps) and self._bus is not None:
                probes[name]["bus"] = Supporting(self._bus.check)
            wanted = composition.needs(plugin).values()
            if Cache in wanted or wraps:
                probes[name]["cache"] = Supporting(self._cache.check)
            if plugin.asgi is not None:
                probes[name]["limits"] = Supporting(lambda: self.limits.check())
            if Mail in wanted:
                probes[name]["mail"] = Supporting(self._mail.check)
            if Blobs in wanted and self._blobs is not None:
                probes[name]["blobs"] = Supporting(self._blobs.check)
            for check, ask in plugin.checks.items():
                service = self.services.get(name)
                probes[name][check] = lambda ask=ask, service=service: ask(service)
        if self._wrapping:
            # A view: the application may be put together, and ask for this, after the platform was opened.
            probes[self._wrapping] = ChainMap(probes[self._wrapping], self._watched)
        peers = {name: urls for name, urls in self.settings.peers.items() if name not in self.plugins}
        absent = tuple(name for name in self.absent if name in self.deployment or not self.settings.services)
        critical = frozenset(self.settings.critical_services)
        return Health(probes, peers, absent, self._client, critical, self._may_see_health)

    async def _may_see_health(self, scope: Scope) -> bool:
        try:
            token = bearer_token(scope["headers"])
            async with asyncio.timeout(LIMIT):
                return token is not None and (await self._identity.verify(token)).may(HEALTH_READ)
        except (Error, TimeoutError):
            return False

    # Checks before anything starts

    def _check(self) -> None:
        problems = composition.check(self.discovery, self.plugins)
        if unreadable := composition.unreadable(self.plugins):
            raise StartRefused(list(dict.fromkeys([*problems, *unreadable])))
        problems += composition.bad_peers(self.settings)
        problems += production.problems(self.settings, self.plugins)
        with_database = [name for name, plugin in self.plugins.items() if composition.has_database(plugin)]
        problems += choose.problems(self.settings, with_database)
        try:
            self._call_keys = CallKeys.parse(self.settings.call_key.reveal())
        except StartRefused as refused:
            problems += refused.problems
            self._call_keys = CallKeys({})
        peers = [name for name in self.settings.peers if name not in self.plugins]
        if peers and not self.settings.call_key:
            problems.append("ORION_PEERS names other hosts, so ORION_CALL_KEY must be set to sign calls to them")
        if peers and self.settings.bus_url.startswith("embedded:"):
            problems.append("ORION_BUS_URL=embedded: stays in one process; with ORION_PEERS set it to amqp://…")
        if self._strict:
            problems += [f"nobody serves {name}: it is {why}" for name, why in self.absent.items()]
        try:
            networks(self.settings.trusted_proxies)
        except ValueError as error:
            problems.append(f"ORION_TRUSTED_PROXIES: {error}")
        if any(plugin.sealed or Keyring in composition.needs(plugin).values() for plugin in self.plugins.values()):
            try:
                self._keyring = self._load_keyring(create=not problems)
            except StartRefused as refused:
                problems += refused.problems
        if problems:
            raise StartRefused(list(dict.fromkeys(problems)))
        self._bus = None
        self._identity = TokenIdentity(
            self.service(Auth),
            issuer=self.settings.issuer,
            audience=AUDIENCE,
            clock=self.clock,
            cache=_Late(lambda: self._cache),
            local="auth" in self.plugins,
        )

    def _load_keyring(self, *, create: bool) -> Keyring:
        if self.settings.keyring:
            return Keyring.load(self.settings.keyring.reveal())
        if self.settings.durable_elsewhere:
            raise StartRefused(
                ["ORION_KEYRING is not set, and several hosts share it; make one with: orion keyring new"]
            )
        path = self.settings.data_dir / "keyring.json"
        # A start that is refused anyway leaves no file behind.
        return Keyring.load_or_create(path) if create or path.exists() else Keyring.generate()


class _Late:
    """Stands for something of a platform that may not be open yet."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)


def _subscription(listener: Listener) -> Subscription:
    return Subscription(listener.queue, listener.names, listener.broadcast, listener.concurrency)
