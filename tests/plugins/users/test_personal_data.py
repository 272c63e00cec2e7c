"""Preferences that plugins declare, the access log, news of addresses, tombstones: on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextvars
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import pytest
from test_users_service import hear, person, registered, users

from orion_core.context import Actor, Context, acting, use
from orion_core.contracts.auth import UserEmailChanged
from orion_core.contracts.storage import NotAPicture, Picture, Storage, StoredPicture
from orion_core.contracts.users import (
    AccessLogUnavailable,
    NewProfile,
    NoSuchPerson,
    PeopleQuery,
    PreferenceChange,
    ProfileChange,
    ProfilePending,
)
from orion_core.errors import Invalid, Unavailable
from orion_core.ids import new_id
from orion_core.json_value import Json
from orion_core.testing import Fake, engines
from orion_core.testing.databases import waits_for_lock
from orion_core.testing.suites.bus_kit import an_event
from orion_plugins.users.redaction import HIDDEN
from orion_plugins.users.service import UsersService
from orion_plugins.users.settings import UsersSettings
from orion_plugins.users.tables import UserAccessLog, UserActivity, UserPreference, UserProfile

NOW = datetime(2026, 1, 2, tzinfo=UTC)
READER = Actor("user", str(new_id()), permissions=("users:*",))


async def somebody(service: UsersService, **given: str) -> UUID:
    user_id = new_id()
    await hear(service, registered(user_id, **given))
    return user_id


async def moved(service: UsersService, user_id: UUID, email: str, version: int) -> None:
    """The news that the account has another address."""
    async with service.db.transaction():
        await service.copy_email(UserEmailChanged(user_id, email, version, NOW))


async def told(service: UsersService, name: str) -> list[dict[str, Any]]:
    rows = await service.db.fetch("SELECT data FROM orion_outbox WHERE name = $1 ORDER BY position", name)
    return [json.loads(row["data"]) for row in rows]


async def actions(user_id: UUID) -> list[str]:
    rows = await UserActivity.select(UserActivity.action).where(UserActivity.user_id == user_id)
    return [row["action"] for row in rows]


def refused(error: pytest.ExceptionInfo[Invalid]) -> dict[str, str]:
    return {each.field: each.code for each in error.value.errors}


# Declared preferences


async def test_declared_preferences_come_with_their_defaults_marked(database_url: str) -> None:
    """U14."""
    async with users(database_url) as service:
        ada = await somebody(service)
        with acting(person(ada)):
            await service.change_preferences(ada, (PreferenceChange("editor.theme", Json.of("dark")),))
            found = await service.preferences(ada)
            await service.change_preferences(ada, (PreferenceChange("editor.theme", remove=True),))
            after = await service.preferences(ada, ("editor.theme", "other"))

        assert [(each.key, each.value.plain(), each.default) for each in found] == [
            ("editor.diary", "", True),
            ("editor.font_size", 12, True),
            ("editor.theme", "dark", False),
        ]
        assert [(each.value.plain(), each.default, each.version) for each in after] == [("light", True, 0)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (PreferenceChange("editor.typo", Json.of(1)), "unknown"),
        (PreferenceChange("editor.theme", Json.of("blue")), "not_allowed"),
        (PreferenceChange("editor.font_size", Json.of("12")), "type"),
        (PreferenceChange("editor.font_size", Json.of(True)), "type"),
        (PreferenceChange("editor.font_size", Json.of(12), "number"), "type"),
        (PreferenceChange("editor", Json.of(1)), "unknown"),
    ],
)
async def test_what_a_declaration_does_not_allow_is_refused(
    database_url: str, change: PreferenceChange, code: str
) -> None:
    """U12, U14."""
    async with users(database_url) as service:
        ada = await somebody(service)
        with acting(person(ada)), pytest.raises(Invalid) as error:
            await service.change_preferences(ada, (PreferenceChange("free", Json.of(1)), change))

        assert refused(error) == {change.key: code}
        assert await UserPreference.count() == 0
        assert await told(service, "user.preferences_changed") == []


async def test_the_value_of_a_private_preference_never_leaves(database_url: str) -> None:
    """U16."""
    async with users(database_url) as service:
        ada = await somebody(service)
        with acting(person(ada)):
            await service.change_preferences(ada, (PreferenceChange("editor.diary", Json.of("dear diary")),))

        [event] = await told(service, "user.preferences_changed")
        assert event["changes"] == [
            {"key": "editor.diary", "type": "string", "value": None, "removed": False, "private": True}
        ]
        assert "dear diary" not in repr(await UserActivity.select())


async def test_a_value_that_another_release_declared_otherwise_can_still_be_removed(database_url: str) -> None:
    """U14."""
    async with users(database_url) as service:
        ada = await somebody(service)
        free = attrs.evolve(service, catalogue=type(service.catalogue)({}))
        with acting(person(ada)):
            await free.change_preferences(ada, (PreferenceChange("editor.theme", Json.of(5)),))
            await service.change_preferences(ada, (PreferenceChange("editor.theme", remove=True),))

        assert await UserPreference.count() == 0


async def test_preferences_of_somebody_whose_profile_is_pending_are_refused(database_url: str) -> None:
    """U3."""
    async with users(database_url) as service:
        nobody = new_id()
        with acting(person(nobody)):
            with pytest.raises(ProfilePending):
                await service.preferences(nobody)
            with pytest.raises(ProfilePending):
                await service.change_preferences(nobody, (PreferenceChange("a", Json.of(1)),))


# Reading about others


async def test_what_cannot_be_recorded_is_not_shown(database_url: str) -> None:
    """U33."""
    async with users(database_url) as service:
        ada = await somebody(service)
        await service.db.fetch("DROP TABLE user_access_log")

        with acting(READER):
            for reading in (
                lambda: service.get(ada),
                lambda: service.find((ada,)),
                lambda: service.public(ada),
                lambda: service.search(PeopleQuery()),
                lambda: service.change(ada, ProfileChange(name="Eve")),
                lambda: service.preferences(ada),
                lambda: service.activity(ada, "", 10),
                lambda: service.pages(""),
            ):
                with pytest.raises(AccessLogUnavailable) as error:
                    await reading()
                assert (error.value.status, error.value.code) == (503, "users.access_log_unavailable")
        with acting(person(ada)):
            assert (await service.me()).name == "Ada"


async def test_a_service_reads_under_its_own_name(database_url: str) -> None:
    """U34."""
    async with users(database_url) as service:
        ada, grace = await somebody(service), await somebody(service)
        with use(Context(actor=Actor("service", "search"), correlation_id="chain-1")):
            await service.find((ada, grace))
            await service.pages("")

        rows = await UserAccessLog.select().order_by(UserAccessLog.id)
        assert {(row["actor"], row["correlation_id"]) for row in rows} == {("service:search", "chain-1")}
        assert sorted(row["subject_id"] for row in rows) == sorted([ada, ada, grace, grace])


async def test_a_list_writes_its_entries_in_one_statement(database_url: str) -> None:
    """U34."""
    async with users(database_url) as service:
        for _ in range(5):
            await somebody(service)
        with acting(READER):
            page = await service.search(PeopleQuery(limit=3))

        assert await UserAccessLog.count() == len(page.items) == 3


async def test_public_profiles_are_shown_where_the_deployment_says_so(database_url: str) -> None:
    """U10, U33: what is public is no reading of personal fields, and what is not is one."""
    async with users(database_url) as service:
        ada = await somebody(service)
        shown = attrs.evolve(service, settings=UsersSettings(public_profiles=True))
        with acting(person(new_id())):
            assert (await shown.public(ada)).name == "Ada"
            with pytest.raises(NoSuchPerson):
                await service.public(ada)
            with pytest.raises(NoSuchPerson):
                await shown.public(new_id())

        assert await UserAccessLog.count() == 0
        with acting(READER):
            assert (await service.public(ada)).name == "Ada"
        [row] = await UserAccessLog.select()
        assert (row["subject_id"], json.loads(row["fields"]), row["purpose"]) == (
            ada,
            ["name", "avatar_url"],
            "users.public",
        )


# Addresses


async def test_an_older_address_never_overwrites_a_newer_one(database_url: str) -> None:
    """U7, U8."""
    async with users(database_url) as service:
        ada = await somebody(service)
        await moved(service, ada, "third@x.org", 3)
        await moved(service, ada, "second@x.org", 2)
        await moved(service, ada, "third@x.org", 3)

        found = await service.get(ada)
        assert (found.email, found.version) == ("third@x.org", 2)
        assert [event["changed"] for event in await told(service, "user.profile_changed")] == [["email"]]


async def test_an_address_that_comes_before_the_registration_is_kept(database_url: str) -> None:
    """U8: the two travel on different ways."""
    async with users(database_url) as service:
        ada = new_id()
        await moved(service, ada, "second@x.org", 2)
        with acting(person(ada)), pytest.raises(ProfilePending):
            await service.me()
        await hear(service, registered(ada))

        found = await service.get(ada)
        assert (found.name, found.email) == ("Ada", "second@x.org")


async def test_the_news_of_the_account_correct_what_was_written_by_hand(database_url: str) -> None:
    """U4, U7."""
    async with users(database_url) as service:
        ada = new_id()
        with acting(Actor("system")):
            await service.create(NewProfile(ada, email="typo@x.org", name="Countess"))
        await hear(service, registered(ada))

        found = await service.get(ada)
        assert (found.name, found.email) == ("Countess", "ada@x.org")


async def test_news_of_the_same_address_do_not_change_the_profile(database_url: str) -> None:
    """U6, U8: the entity tag stays, and older news still find the newer version."""
    async with users(database_url) as service:
        ada = await somebody(service)
        await moved(service, ada, "ada@x.org", 3)
        await moved(service, ada, "second@x.org", 2)

        found = await service.get(ada)
        assert (found.email, found.version) == ("ada@x.org", 1)
        assert await told(service, "user.profile_changed") == []


# Tombstones


async def test_somebody_who_erases_themselves_while_their_profile_is_being_made_is_erased(database_url: str) -> None:
    """U3, U36: the erasure finds no profile, and then there is one."""
    async with users(database_url) as service:
        ada = new_id()

        async def erase() -> None:
            with acting(person(ada)):
                await service.erase(ada)

        async with service.db.transaction():
            await service.create_profile(registered(ada))
            erasing = asyncio.create_task(erase(), context=contextvars.Context())
            if service.db.dialect.name == "postgresql":  # on SQLite the erasure cannot even begin
                await engines.until(lambda: waits_for_lock(service.db), "the erasure meeting the profile")
        await erasing

        [row] = await UserProfile.select()
        assert (row["state"], row["email"], row["name"]) == ("erased", "", "")
        assert len(await told(service, "user.erased")) == 1


async def test_the_news_of_an_erasure_do_not_carry_what_the_client_called_its_request(database_url: str) -> None:
    """U36: it may be a value of the person."""
    async with users(database_url) as service:
        ada = await somebody(service)
        chain = Context(person(ada), "ada-lovelace", tracestate="x=ada-lovelace", user_agent="ada-lovelace")
        with use(chain):
            await service.erase(ada)

        tables = ("orion_outbox", "orion_jobs", "user_activity")
        assert "ada-lovelace" not in repr([await service.db.fetch(f"SELECT * FROM {table}") for table in tables])


async def test_late_news_do_not_bring_an_erased_person_back(database_url: str) -> None:
    """U3, U36."""
    async with users(database_url) as service:
        ada = await somebody(service)
        with acting(person(ada)):
            await service.erase(ada)
            await service.erase(ada)
        await hear(service, registered(ada))
        await moved(service, ada, "late@x.org", 9)
        await fact(service, ada, "auth.session_started", {"ip": "192.0.2.7"})

        with acting(person(ada)):
            for attempt in (
                service.me,
                lambda: service.change_me(ProfileChange(name="Eve")),
                lambda: service.preferences(ada),
            ):
                with pytest.raises(NoSuchPerson):
                    await attempt()
        with acting(READER), pytest.raises(NoSuchPerson):
            await service.get(ada)
        [row] = await UserProfile.select()
        assert (row["user_id"], row["state"], row["email"], row["name"], row["email_key"]) == (
            ada,
            "erased",
            "",
            "",
            "",
        )
        assert await actions(ada) == ["user.erased"]
        assert len(await told(service, "user.erased")) == 1


async def test_what_a_listener_wrote_during_the_erasure_is_removed_soon_after(database_url: str) -> None:
    """U36."""
    async with users(database_url) as service:
        ada = await somebody(service)
        with acting(person(ada)):
            await service.erase(ada)
        await UserProfile.update({UserProfile.state: "active"}).where(UserProfile.user_id == ada)
        await fact(service, ada, "auth.session_started", {"place": "Vienna"})
        await service.strip_again(ada)

        assert "Vienna" not in repr(await UserActivity.select())
        assert [row["type"] for row in await service.db.fetch("SELECT type FROM orion_jobs")] == ["users.strip_again"]


async def test_erasing_strips_what_the_person_did_to_others_and_keeps_theirs(database_url: str) -> None:
    """U36."""
    async with users(database_url) as service:
        ada, grace = await somebody(service), await somebody(service)
        admin = Actor("user", str(ada), permissions=("users:*",))
        with use(Context(actor=admin, client_ip="192.0.2.7", user_agent="reader/1")):
            await service.change(grace, ProfileChange(bio="Ships"))
            await service.erase(ada)

        [row] = await UserActivity.select().where(UserActivity.user_id == grace)
        assert (row["ip_address"], row["user_agent"], json.loads(row["metadata"])) == ("", "", {"fields": ["bio"]})
        assert (await service.get(grace)).bio == "Ships"


# Activity


async def fact(service: UsersService, user_id: UUID, name: str, details: dict[str, Any], **more: Any) -> UUID:
    """The news of a fact about the person, as another service tells it."""
    envelope = an_event(name, data=json.dumps({"user_id": str(user_id), **details}), **more)
    async with service.db.transaction():
        await service.note_activity(envelope)
    return envelope.id


async def test_a_fact_told_twice_is_one_activity_with_the_time_of_the_fact(database_url: str) -> None:
    """U28."""
    async with users(database_url) as service:
        ada = await somebody(service)
        at, identity = NOW - timedelta(days=3), new_id()
        for _ in range(2):
            await fact(service, ada, "storage.object_created", {"key": "a"}, id=identity, time=at, originator="user:x")

        [row] = await UserActivity.select().where(UserActivity.user_id == ada)
        assert (row["id"], row["action"], row["timestamp"], row["actor"]) == (
            identity,
            "storage.object_created",
            at,
            "user:x",
        )
        assert json.loads(row["metadata"]) == {"key": "a"}


async def test_facts_about_nobody_and_own_facts_are_passed_over(database_url: str) -> None:
    """U28: own ones are written with the change itself."""
    async with users(database_url) as service:
        ada = await somebody(service)
        await fact(service, ada, "user.profile_changed", {}, source="/orion/users")
        async with service.db.transaction():
            for data in ("{}", '{"user_id": null}', '{"user_id": "x"}', "[]", '{"user_id": 5}'):
                await service.note_activity(an_event("jobs.dead", data=data))

        assert await actions(ada) == []


async def test_secrets_in_metadata_are_replaced_and_what_is_too_large_is_left_out(database_url: str) -> None:
    """U29."""
    async with users(database_url) as service:
        ada = await somebody(service)
        details = {
            "password": "p",
            "deep": [{"refreshToken": "t", "Set-Cookie": "c", "client_secret": 5, "plain": "x"}],
        }
        await fact(service, ada, "auth.a_fact_known", details)
        await fact(service, ada, "auth.large_fact_known", {"text": "x" * 9000})

        rows = await UserActivity.select().where(UserActivity.user_id == ada).order_by(UserActivity.id)
        secret, large = (json.loads(row["metadata"]) for row in rows)
        assert secret == {
            "password": HIDDEN,
            "deep": [{"refreshToken": HIDDEN, "Set-Cookie": HIDDEN, "client_secret": HIDDEN, "plain": "x"}],
        }
        assert set(large) == {"left_out_bytes"}


async def test_equal_times_are_ordered_by_id_over_pages(database_url: str) -> None:
    """U28."""
    async with users(database_url) as service:
        ada = await somebody(service)
        ids = [await fact(service, ada, "a.fact_known", {}, time=NOW) for _ in range(7)]
        walked, cursor = [], ""
        with acting(person(ada)):
            while True:
                page = await service.activity(ada, cursor, 3)
                walked += [item.id for item in page.items]
                if page.next_cursor is None:
                    break
                cursor = page.next_cursor

        assert walked == sorted(ids, reverse=True)


# Avatars


def storage(*ids: UUID | BaseException) -> Storage:
    """A storage that gives pictures these ids, one after the other."""
    left = list(ids)

    async def put_picture(picture: Picture) -> StoredPicture:
        given = left.pop(0)
        if isinstance(given, BaseException):
            raise given
        return StoredPicture(given, picture.sizes, NOW)

    return Fake(Storage, put_picture=put_picture)


async def test_a_new_avatar_frees_the_one_before_and_changes_the_version(database_url: str) -> None:
    """U17, U18, U20."""
    first, second = new_id(), new_id()
    async with users(database_url) as built:
        service = attrs.evolve(built, storage=storage(first, second))
        ada = await somebody(service)
        with acting(person(ada)):
            one = await service.change_avatar(ada, b"png")
            two = await service.change_avatar(ada, b"png")
            none = await service.remove_avatar(ada)
            same = await service.remove_avatar(ada)

        assert one.avatar_url == f"/api/v1/storage/pictures/{first}/256"
        assert two.avatar_url == f"/api/v1/storage/pictures/{second}/256"
        assert (none.avatar_url, none.version, same) == ("", 4, none)
        assert [(each["picture_id"], each["replaced_id"]) for each in await told(service, "user.avatar_changed")] == [
            (str(first), None),
            (str(second), str(first)),
            (None, str(second)),
        ]
        assert await actions(ada) == ["user.avatar_changed"] * 3


@pytest.mark.parametrize("trouble", [Unavailable("storage is away"), NotAPicture("no picture")])
async def test_a_picture_that_storage_does_not_take_changes_nothing(database_url: str, trouble: Exception) -> None:
    """U19."""
    async with users(database_url) as built:
        service = attrs.evolve(built, storage=storage(new_id(), trouble))
        ada = await somebody(service)
        with acting(person(ada)):
            before = await service.change_avatar(ada, b"png")
            with pytest.raises(type(trouble)):
                await service.change_avatar(ada, b"png")
            assert await service.me() == before
            assert (await service.change_me(ProfileChange(bio="Engines"))).bio == "Engines"

        assert len(await told(service, "user.avatar_changed")) == 1


async def test_nobody_gives_somebody_else_an_avatar(database_url: str) -> None:
    """U10."""
    async with users(database_url) as built:
        service = attrs.evolve(built, storage=storage(new_id()))
        ada = await somebody(service)
        with acting(READER):
            with pytest.raises(NoSuchPerson):
                await service.change_avatar(ada, b"png")
            assert (await service.remove_avatar(ada)).avatar_url == ""
        with acting(person(new_id())), pytest.raises(NoSuchPerson):
            await service.remove_avatar(ada)
