"""Everything that forbids to compose a platform is found before the start, and said in words."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import attrs
import pytest

from orion_core.composition import has_database, tells
from orion_core.contract import Contract
from orion_core.errors import StartRefused
from orion_core.events import Events, event, on
from orion_core.keyring import Keyring
from orion_core.platform import Platform
from orion_core.plugin import Discovery, Plugin, Searchable, Services
from orion_core.ports.cache import Cache
from orion_core.ports.database import Database
from orion_core.ports.mail import Mail
from orion_core.secret import Secret
from orion_core.settings import Settings

KEY = f"k:{'x' * 32}"


@event("shop.sold")
class Sold:
    """Something was sold."""

    article: str


class Shop(Contract, name="shop"):
    """Sells."""

    @abc.abstractmethod
    async def sell(self) -> None: ...


class Store(Contract, name="store"):
    """Keeps."""

    @abc.abstractmethod
    async def take(self) -> None: ...


class Sync(Contract, name="sync"):
    """Breaks the rule that operations are async."""

    @abc.abstractmethod
    def now(self) -> None: ...


class Loose(Contract, name="loose"):
    """Takes what may change."""

    @abc.abstractmethod
    async def take(self, things: list[str]) -> None: ...


@attrs.frozen
class ShopService(Shop):
    """Asks the store."""

    store: Store

    async def sell(self) -> None: ...


@attrs.frozen
class StoreService(Store):
    """Asks nobody."""

    async def take(self) -> None: ...


def platform(*plugins: Plugin, names: tuple[str, ...] = (), strict: bool = False, **settings: Any) -> Platform:
    """A platform of exactly these plugins."""
    found = Discovery({plugin.name: plugin for plugin in plugins}, {plugin.name: plugin for plugin in plugins})
    return Platform(found, names, Settings(**settings), strict=strict)


def problems(*plugins: Plugin, **options: Any) -> list[str]:
    """Why a platform of exactly these plugins may not start."""
    with pytest.raises(StartRefused) as refused:
        platform(*plugins, **options)
    return list(refused.value.problems)


def serving(base: type[Contract], **needs: Any) -> Plugin:
    """A plugin whose service has these fields."""
    body = {name: attrs.field() for name in needs}
    methods = dict.fromkeys(base.__abstractmethods__, StoreService.take)
    cls = type("MadeService", (base,), {**body, **methods, "__annotations__": needs})
    return Plugin(base.contract_name, service=attrs.frozen(cls))


SHOP = Plugin("shop", service=ShopService)
STORE = Plugin("store", service=StoreService)


def test_services_that_fit_may_start() -> None:
    assert platform(SHOP, STORE).served == ("shop", "store")


def test_services_that_ask_each_other_are_a_circle() -> None:
    assert problems(SHOP, serving(Store, shop=Shop)) == [
        "services call each other in a circle: shop → store → shop; make one of the calls an event"
    ]


def test_who_finds_out_at_run_time_whom_to_ask_is_part_of_a_circle_too() -> None:
    """Search asks the owners of what it indexes; an owner that asks search would wait for itself."""
    store = attrs.evolve(SHOP, searchable=[Searchable(index="shop", documents={}, pages="sell")])

    assert problems(store, serving(Store, services=Services)) == [
        "services call each other in a circle: shop → store → shop; make one of the calls an event"
    ]


def test_a_need_that_nothing_fills_is_named_with_what_there_is() -> None:
    [problem] = problems(serving(Shop, colour=str, cache=Cache))

    assert problem.startswith("shop needs colour: str, which is neither a contract nor a port nor its settings; ports")


def test_a_need_is_a_contract_and_not_the_class_that_keeps_it() -> None:
    """A stub of the service itself would have its methods and none of its fields."""
    assert problems(serving(Shop, store=StoreService), STORE) == [
        "shop needs store: StoreService, which is no contract: name the contract"
    ]


def test_a_need_whose_type_cannot_be_read_is_named() -> None:
    assert problems(serving(Shop, store="Nowhere"), STORE) == [
        "the fields of shop's service cannot be read: name 'Nowhere' is not defined; import their types at module level"
    ]


def test_what_is_installed_but_not_served_does_not_refuse_the_start() -> None:
    assert platform(serving(Shop, store="Nowhere"), STORE, names=("store",)).served == ("store",)


def test_a_service_that_lacks_operations_is_named() -> None:
    @attrs.frozen
    class Empty(Shop):
        pass

    assert problems(Plugin("shop", service=Empty)) == ["shop's service lacks the operations sell"]


def test_a_service_that_is_no_attrs_class_is_named() -> None:
    class Plain(Shop):
        def __init__(self, store: Store) -> None: ...

        async def sell(self) -> None: ...

    assert problems(Plugin("shop", service=Plain)) == [
        "shop's service takes arguments but is no attrs class: make its needs typed fields"
    ]


@pytest.mark.parametrize(
    ("contract", "problem"),
    [
        (Sync, "Sync.now must be async: it may be answered by another process"),
        (Loose, "list[str] cannot cross a contract: use text, numbers, times, ids, values, and tuples of these"),
    ],
)
def test_a_contract_that_breaks_the_rules_is_named_where_it_is_kept_and_where_it_is_asked(
    contract: type[Contract], problem: str
) -> None:
    assert problems(serving(contract)) == [f"{contract.contract_name}: {problem}"]
    assert problems(serving(Shop, other=contract)) == [f"shop: {problem}"]


def test_two_plugins_with_one_path_are_named() -> None:
    other = Plugin("other", prefixes=["/api/v1/store"])

    assert problems(STORE, other, names=("store",)) == ["the plugins store and other both claim the path /api/v1/store"]


def test_two_plugins_with_one_name_are_named(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="two plugins claim the name 'users'"):
        Platform.load("users", plugins=[Plugin("users")], settings=Settings(data_dir=tmp_path))


def test_two_plugins_that_wrap_the_application_are_named() -> None:
    def wrap(app: Any, host: Any) -> Any:
        return app

    assert problems(Plugin("one", asgi=wrap), Plugin("two", asgi=wrap)) == [
        "only one plugin may wrap the application, not one and two"
    ]


def test_a_plugin_that_is_not_there_is_named_with_those_that_are() -> None:
    assert problems(STORE, names=("stroe",)) == ["there is no plugin stroe; installed are store"]


def test_a_contract_that_nobody_serves_is_reported_and_refused_only_if_asked_to() -> None:
    assert platform(SHOP).absent == {"store": "not installed"}
    assert problems(SHOP, strict=True) == ["nobody serves store: it is not installed"]
    assert problems(SHOP, STORE, names=("shop",), strict=True) == [
        "nobody serves store: it is installed but not served"
    ]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"bus_url": "kafka://x"}, "ORION_BUS_URL: there is no bus adapter for kafka:, use one of embedded:, amqp:,"),
        ({"cache_url": "redis://:hun/ter2@x"}, "ORION_CACHE_URL: its port must be a number up to 65535"),
        (
            {"limits_url": "memcached:"},
            "ORION_LIMITS_URL: there is no limits adapter for memcached:, use one of",
        ),
        (
            {"limits_replicas": 2, "limits_url": "redis://:hun/ter2@x"},
            "ORION_LIMITS_URL: its port must be a number up to 65535",
        ),
        ({"mail_url": "http://x"}, "ORION_MAIL_URL: there is no mail adapter for http:, use one of file:, smtp:,"),
        ({"call_key": "short"}, "ORION_CALL_KEY must be kid:secret,… with secrets of at least 32 characters each"),
        ({"trusted_proxies": ("x",)}, "ORION_TRUSTED_PROXIES: 'x' is no network: write it as 10.0.0.0/8"),
        ({"peers": {"users": ()}}, "ORION_PEERS gives no URL for users: write users=http://host:port"),
        ({"peers": {"users": ("users:3002",)}}, "ORION_PEERS: each URL of users must be http://host:port or https"),
        ({"peers": {"users": ("http://u:1/x",)}}, "ORION_PEERS: each URL of users must be http://host:port or https"),
        ({"peers": {"users": ("http://a:b@u",)}}, "ORION_PEERS: each URL of users must be http://host:port or https"),
    ],
)
def test_a_setting_that_cannot_work_is_named_with_what_can(settings: dict[str, Any], problem: str) -> None:
    key = Secret(settings.pop("call_key", KEY))
    options = {"bus_url": "amqp://mq", "call_key": key, **settings}

    [found] = problems(STORE, **options)

    assert found.startswith(problem)
    assert "ter2" not in found


def test_peers_need_a_key_and_a_bus_between_processes() -> None:
    assert problems(STORE, peers={"users": ("http://users:3002",)}) == [
        "ORION_PEERS names other hosts, so ORION_CALL_KEY must be set to sign calls to them",
        "ORION_BUS_URL=embedded: stays in one process; with ORION_PEERS set it to amqp://…",
    ]


def test_a_database_without_an_adapter_names_the_setting_that_was_used() -> None:
    listening = serving(Shop, db=Database)

    assert problems(listening, database_url="mysql://x")[0].startswith("ORION_DATABASE_URL: there is no database")
    assert problems(listening, databases={"shop": "mysql://x"})[0].startswith("ORION_SHOP_DATABASE_URL: there is no")


def test_a_keyring_is_needed_where_several_hosts_may_share_it(tmp_path: Path) -> None:
    keeping = serving(Shop, keyring=Keyring)

    assert problems(keeping, database_url="postgresql://h/x", data_dir=tmp_path) == [
        "ORION_KEYRING is not set, and several hosts share it; make one with: orion keyring new"
    ]
    assert not list(tmp_path.iterdir())


def test_a_start_that_is_refused_leaves_no_keyring_behind(tmp_path: Path) -> None:
    problems(serving(Shop, keyring=Keyring, colour=str), data_dir=tmp_path / "data")

    assert not (tmp_path / "data").exists()


def test_all_problems_are_said_at_once() -> None:
    assert len(problems(serving(Shop, keyring=Keyring, x=int), database_url="postgresql://h/x", mail_url="x:")) == 3


async def test_a_url_that_its_adapter_cannot_read_refuses_the_start(tmp_path: Path) -> None:
    mailing = serving(Shop, mail=Mail, db=Database)
    for setting, url in (("mail_url", "smtp://user@host"), ("database_url", "sqlite://host/file")):
        options: dict[str, Any] = {setting: url}
        with pytest.raises(StartRefused, match=f"^ORION_{setting.upper()}: "):
            async with platform(mailing, data_dir=tmp_path, **options):
                pass


def test_a_listener_needs_a_database_and_events() -> None:
    @attrs.frozen
    class Hearing(Store):
        events: Events

        async def take(self) -> None: ...

        @on(Sold)
        async def count(self, event: Sold) -> None: ...

    assert has_database(Plugin("store", service=Hearing))
    assert not has_database(STORE)
    assert tells(Plugin("store", service=Hearing)) == ("shop.sold",)
