"""The service `users` built by hand on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import attrs
import httpx
import pytest

from orion_core.adapters.choose import open_database
from orion_core.context import ANONYMOUS, Actor, acting
from orion_core.contracts.auth import UserRegistered
from orion_core.contracts.storage import Storage
from orion_core.contracts.users import NoSuchPerson, Profile, ProfileChange, ProfilePending, Users
from orion_core.errors import PreconditionFailed, Unauthenticated
from orion_core.ids import new_id
from orion_core.migrate import CORE, MigrationApp, up
from orion_core.migrate_new import drift
from orion_core.outbox import Outbox
from orion_core.plugin import Catalogue, Plugin, PreferenceKind
from orion_core.queue import JobQueue
from orion_core.settings import Settings
from orion_core.testing import Fake
from orion_core.testing.clock import MovableClock
from orion_core.web.app import build
from orion_plugins.users.plugin import orion_plugin
from orion_plugins.users.routes import UserRoutes
from orion_plugins.users.service import UsersService
from orion_plugins.users.settings import UsersSettings
from orion_plugins.users.tables import UserAccessLog, UserActivity, UserPreference, UserProfile

MIGRATIONS = "orion_plugins.users.migrations"
TABLES = [UserProfile, UserPreference, UserActivity, UserAccessLog]
EDITOR = Plugin(
    "editor",
    preferences=[
        PreferenceKind(key="editor.theme", type="string", default="light", allowed=["light", "dark"]),
        PreferenceKind(key="editor.font_size", type="integer", default=12),
        PreferenceKind(key="editor.diary", type="string", default="", private=True),
    ],
)


@asynccontextmanager
async def users(url: str) -> AsyncIterator[UsersService]:
    db = await open_database(Settings(database_url=url, synchronous="NORMAL"), "users")
    try:
        await up(db, [CORE, MigrationApp("users", MIGRATIONS)])
        for table in TABLES:
            table._meta.db = db.engine
        clock = MovableClock()
        yield UsersService(
            db=db,
            events=Outbox("users", Users, db, clock),
            jobs=JobQueue("users", db, clock),
            clock=clock,
            catalogue=Catalogue({"editor": EDITOR}),
            settings=UsersSettings(),
            storage=Fake(Storage),
        )
    finally:
        await db.aclose()


def person(user_id: UUID, *permissions: str) -> Actor:
    return Actor("user", str(user_id), permissions=permissions)


def registered(user_id: UUID, **given: str) -> UserRegistered:
    return UserRegistered(
        user_id=user_id,
        email=given.get("email", "ada@x.org"),
        name=given.get("name", "Ada"),
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


async def hear(service: UsersService, event: UserRegistered) -> None:
    async with service.db.transaction():
        await service.create_profile(event)


async def published(service: UsersService) -> int:
    return len(await service.db.fetch("SELECT event_id FROM orion_outbox"))


async def test_news_that_come_ten_times_make_one_profile(database_url: str) -> None:
    """U2."""
    async with users(database_url) as service:
        user_id = new_id()
        for _ in range(10):
            await hear(service, registered(user_id))
        await hear(service, registered(user_id, name="Eve", email="eve@x.org"))

        assert await UserProfile.count() == 1
        profile = await service.get(user_id)
        assert (profile.name, profile.email, profile.version) == ("Ada", "ada@x.org", 1)
        assert profile.created_at == datetime(2026, 1, 1, tzinfo=UTC)


async def test_late_news_do_not_undo_what_the_person_changed(database_url: str) -> None:
    """U2."""
    async with users(database_url) as service:
        user_id = new_id()
        await hear(service, registered(user_id))
        with acting(person(user_id)):
            await service.change_me(ProfileChange(name="Ada Lovelace"))
        await hear(service, registered(user_id))

        assert (await service.get(user_id)).name == "Ada Lovelace"


async def test_names_are_not_guessed_and_are_normalised(database_url: str) -> None:
    """U1, U9."""
    async with users(database_url) as service:
        user_id = new_id()
        await hear(service, registered(user_id, name=" A\u030asa Lovelace "))

        profile = await service.get(user_id)
        assert (profile.name, profile.first_name, profile.last_name) == ("\u00c5sa Lovelace", "", "")


async def test_a_profile_that_has_not_arrived_is_pending(database_url: str) -> None:
    """U3."""
    async with users(database_url) as service:
        with acting(person(new_id())):
            with pytest.raises(ProfilePending) as pending:
                await service.me()
            with pytest.raises(ProfilePending):
                await service.change_me(ProfileChange(name="Ada"))

        assert pending.value.retry_after == 1


async def test_a_pending_profile_is_404_with_retry_after(database_url: str) -> None:
    """U3."""

    class Everybody:
        async def verify(self, token: str) -> Actor:
            return person(UUID(token))

    async with users(database_url) as service:
        app = build([UserRoutes], {"users": service}, Everybody(), version="0", docs=True, max_body=100_000)
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # Litestar's own types of ASGI are narrower
        async with httpx.AsyncClient(transport=transport, base_url="http://orion") as http:
            headers = {"authorization": f"Bearer {new_id()}"}
            read = await http.get("/api/v1/users/me", headers=headers)
            written = await http.patch("/api/v1/users/me", json={"name": "Ada"}, headers=headers)
            document = (await http.get("/schema/openapi.json")).json()

    for answer in (read, written):
        assert (answer.status_code, answer.json()["code"]) == (404, "users.profile_pending")
        assert answer.headers["retry-after"] == "1"
    body = document["paths"]["/api/v1/users/me"]["patch"]["requestBody"]["content"]
    assert set(body) == {"application/json", "application/merge-patch+json"}
    assert body["application/json"]["schema"]["properties"]["name"] == {"type": ["string", "null"], "maxLength": 200}
    assert body["application/json"]["schema"]["additionalProperties"] is False


async def test_reading_others_needs_a_permission(database_url: str) -> None:
    """U10."""
    async with users(database_url) as service:
        ada = new_id()
        await hear(service, registered(ada))

        readers = person(new_id(), "users:read"), person(new_id(), "users:*"), Actor("service", "search")
        for actor in (person(ada), *readers):
            with acting(actor):
                assert (await service.get(ada)).name == "Ada"
        for actor in (person(new_id()), person(new_id(), "users:write")):
            with acting(actor), pytest.raises(NoSuchPerson):
                await service.get(ada)
        with acting(ANONYMOUS):
            with pytest.raises(Unauthenticated):
                await service.get(ada)
            with pytest.raises(Unauthenticated):
                await service.me()


async def test_a_change_and_its_event_are_one_transaction(database_url: str) -> None:
    """U43."""

    class Full:
        async def publish(self, *events: object) -> list[UUID]:
            raise OSError("no space left")

    async with users(database_url) as service:
        ada = new_id()
        await hear(service, registered(ada))
        with acting(person(ada)):
            with pytest.raises(OSError, match="no space"):
                await attrs.evolve(service, events=Full()).change_me(ProfileChange(name="Eve"))
            assert (await service.me()).name == "Ada"


async def test_only_real_changes_make_versions_and_events(database_url: str) -> None:
    """U6."""
    async with users(database_url) as service:
        ada = new_id()
        await hear(service, registered(ada))
        with acting(person(ada)):
            first = await service.me()
            assert await service.change_me(ProfileChange()) == first
            assert await service.change_me(ProfileChange(name=" Ada"), first.version) == first
            assert await published(service) == 0
            second = await service.change_me(ProfileChange(name="Ada", bio="Engines"))

        assert (second.version, await published(service)) == (2, 1)


async def test_a_stale_version_is_refused_even_when_nothing_would_change(database_url: str) -> None:
    """U6."""
    async with users(database_url) as service:
        ada = new_id()
        await hear(service, registered(ada))
        with acting(person(ada)):
            await service.change_me(ProfileChange(bio="Engines"))
            for change in (ProfileChange(bio="Engines"), ProfileChange(bio="Looms"), ProfileChange()):
                with pytest.raises(PreconditionFailed):
                    await service.change_me(change, 1)
            assert (await service.me()).bio == "Engines"


async def test_a_change_takes_the_time_of_the_clock(database_url: str) -> None:
    """U1."""
    async with users(database_url) as service:
        ada = new_id()
        await hear(service, registered(ada))
        before = service.clock.now()
        with acting(person(ada)):
            profile: Profile = await service.change_me(ProfileChange(name="Ada Lovelace"))

        assert profile.created_at < before <= profile.updated_at


async def test_tables_and_migrations_agree() -> None:
    """What the next migration would do is nothing."""
    assert await drift("users", TABLES, MIGRATIONS) == []
    assert orion_plugin().port == 3002
