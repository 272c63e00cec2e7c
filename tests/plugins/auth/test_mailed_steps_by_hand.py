"""The mailed steps of a service built by hand: in every order, at once, and seen from the database."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from auth_by_hand import ADA, BOTH, PASSWORD, access, audit, auth_on, claims, person, published

from orion_core.context import ANONYMOUS, acting
from orion_core.contracts.auth import InvalidCredentials, Login, Register, SessionRevoked, Tokens, UserEmailChanged
from orion_core.contracts.auth_accounts import (
    AddressTaken,
    ChangeEmail,
    ChangePassword,
    ForgotPassword,
    InvalidCode,
    InvalidToken,
    MailedToken,
    ResendVerification,
    ResetPassword,
    VerifyEmail,
)
from orion_core.contracts.notifications import MailOrder, Notifications
from orion_core.contracts.users import UserErased
from orion_core.errors import Error, Unavailable
from orion_core.testing.engines import rows
from orion_core.testing.fake import Fake
from orion_plugins.auth.service import AuthService

MANY = {"mails_per_minute": 10_000, "mails_per_hour": 10_000}
GRACE = Register("grace@x.org", PASSWORD, "Grace")


@attrs.define
class Mailbox:
    """A service, and what it had sent."""

    service: AuthService
    orders: list[MailOrder]

    async def deliver(self) -> None:
        """Run the jobs that wait, as the engine does."""
        waiting = await rows(
            self.service.db, "SELECT id, args FROM orion_jobs WHERE type = 'auth.mail_flow' ORDER BY id"
        )
        for job in waiting:
            await self.service.mail_flow(UUID(json.loads(job["args"])["flow_id"]))
            await self.service.db.fetch("DELETE FROM orion_jobs WHERE id = $1", job["id"])

    async def secret(self, template: str, to: str, name: str = "link") -> str:
        """The token (or code) of the last mail of `template` to an address."""
        await self.deliver()
        order = [each for each in self.orders if (each.template, each.recipient) == (template, to)][-1]
        [text] = [each.text for each in order.secrets if each.name == name]
        return text.rpartition("token=")[2]


@asynccontextmanager
async def mailbox(database: str, folder: Path, **settings: Any) -> AsyncIterator[Mailbox]:
    orders: list[MailOrder] = []
    notifications = Fake(Notifications, order_mail=lambda order: orders.append(order))
    async with auth_on(database, folder, notifications=notifications, **{**MANY, **settings}) as service:
        yield Mailbox(service, orders)


async def password_is(service: AuthService, password: str, email: str = "ada@x.org") -> bool:
    try:
        await service.login(Login(email, password))
    except InvalidCredentials:
        return False
    return True


# Resetting


async def test_no_order_of_steps_resets_a_password_without_its_own_proof(tmp_path: Path) -> None:
    """A46: every step checks everything again, whatever came before it."""
    chance = random.Random(46)
    async with mailbox("sqlite", tmp_path, failures_per_account=10_000) as box:
        service = box.service
        await service.register(ADA)
        await service.register(GRACE)
        current = PASSWORD
        valid: str | None = None
        spent: list[str] = ["omt_" + "A" * 43, "", str(uuid4())]
        for turn in range(60):
            match chance.choice(["forgot", "forgot other", "look", "old", "forged", "verification", "right", "login"]):
                case "forgot":
                    await service.forgot_password(ForgotPassword("ada@x.org"))
                    spent += [valid] if valid else []
                    valid = await box.secret("password_reset", "ada@x.org")
                case "forgot other":
                    await service.forgot_password(ForgotPassword("grace@x.org"))
                    other = await box.secret("password_reset", "grace@x.org")
                    await service.reset_password(ResetPassword(other, f"hers since turn {turn}"))
                    spent.append(other)
                case "look":
                    for purpose in (service.confirm_email_change, service.revert_email_change):
                        for token in filter(None, (valid, *spent)):
                            with pytest.raises(InvalidToken):
                                await purpose(MailedToken(token))
                    with pytest.raises(InvalidToken):
                        await service.verify_email(VerifyEmail(valid or spent[0]))
                case "old":
                    with pytest.raises(InvalidToken):
                        await service.reset_password(ResetPassword(chance.choice(spent), f"never set, {turn}"))
                case "forged":
                    flows = await rows(service.db, "SELECT id, token_hash FROM auth_flows WHERE token_hash <> ''")
                    for flow in flows:
                        for forged in (str(flow["id"]), str(flow["token_hash"]), f"omt_{flow['token_hash'][:43]}"):
                            with pytest.raises(InvalidToken):
                                await service.reset_password(ResetPassword(forged, f"never set, {turn}"))
                        with pytest.raises(InvalidCode):
                            await service.verify_email(VerifyEmail(flow_id=flow["id"], code="000000"))
                case "verification":
                    await service.resend_verification(ResendVerification("grace@x.org"))
                    await box.deliver()
                    proofs = [each for each in box.orders if each.template == "email_verification"]
                    for proof in proofs[-1:]:
                        token = proof.secrets[0].text.rpartition("token=")[2]
                        with pytest.raises(InvalidToken):
                            await service.reset_password(ResetPassword(token, f"never set, {turn}"))
                case "right" if valid:
                    current = f"set in turn {turn}"
                    await service.reset_password(ResetPassword(valid, current))
                    spent.append(valid)
                    valid = None
                case "login":
                    assert await password_is(service, current)
                    spent += [valid] if valid else []
                    valid = None
            [row] = await rows(service.db, "SELECT version FROM users WHERE email = 'ada@x.org'")
            assert row["version"] == 1 + sum(
                action == "password_reset" for action, *_ in await audit_of(service, "ada@x.org")
            )
        assert await password_is(service, current)
        assert not await password_is(service, "never set, 3")


async def audit_of(service: AuthService, email: str) -> list[tuple[str, str, str]]:
    found = await rows(
        service.db,
        "SELECT action, outcome, reason FROM auth_audit_logs WHERE user_id = (SELECT id FROM users WHERE email = $1)",
        email,
    )
    return [(row["action"], row["outcome"], row["reason"]) for row in found]


@BOTH
async def test_of_many_resets_at_once_one_counts(database: str, tmp_path: Path) -> None:
    """A44: as from many browsers."""
    async with mailbox(database, tmp_path) as box:
        await box.service.register(ADA)
        await box.service.forgot_password(ForgotPassword("ada@x.org"))
        token = await box.secret("password_reset", "ada@x.org")

        outcomes = await asyncio.gather(
            *(box.service.reset_password(ResetPassword(token, f"secret number {turn}")) for turn in range(8)),
            return_exceptions=True,
        )

        assert [type(each).__name__ for each in outcomes].count("InvalidToken") == 7
        [won] = [turn for turn, each in enumerate(outcomes) if not isinstance(each, BaseException)]
        assert await password_is(box.service, f"secret number {won}")


@BOTH
@pytest.mark.parametrize("order", list(itertools.permutations(["refresh", "login", "change"]))[:3])
async def test_no_session_outlives_a_change_of_password(database: str, order: tuple[str, ...], tmp_path: Path) -> None:
    """A28, A34: refreshing, signing in with the old password and changing it, all at once."""
    async with mailbox(database, tmp_path) as box:
        service = box.service
        mine = await service.sign_up(ADA)
        other = await service.login(Login("ada@x.org", PASSWORD))

        async def change() -> Any:
            with acting(person(mine)):
                return await service.change_password(ChangePassword(PASSWORD, "another secret"))

        steps = {
            "refresh": lambda: service.refresh(other.refresh_token),
            "login": lambda: service.login(Login("ada@x.org", PASSWORD)),
            "change": change,
        }
        outcomes = await asyncio.gather(*(steps[step]() for step in order), return_exceptions=True)

        assert all(isinstance(each, Error) for each in outcomes if isinstance(each, BaseException))
        assert not isinstance(outcomes[order.index("change")], BaseException)
        for each in [other, *(each for each in outcomes if isinstance(each, Tokens))]:
            assert not (await access(service, each)).active
            with pytest.raises(Error):
                await service.refresh(each.refresh_token)
        living = await rows(service.db, "SELECT id FROM sessions WHERE revoked_at IS NULL")
        assert [str(row["id"]) for row in living] == [claims(mine)["sid"]]


async def test_a_session_that_ended_meanwhile_gets_no_token(tmp_path: Path) -> None:
    """A34."""
    async with mailbox("sqlite", tmp_path) as box:
        tokens = await box.service.sign_up(ADA)
        await box.service.logout(tokens.refresh_token)

        with acting(person(tokens)), pytest.raises(Error, match="the session ended"):
            await box.service.change_password(ChangePassword(PASSWORD, "another secret"))
        assert await password_is(box.service, PASSWORD)


async def test_wrong_passwords_of_somebody_signed_in_wait_like_any_other(tmp_path: Path) -> None:
    """A9: a stolen session does not become an endless guess at the password."""
    async with mailbox("sqlite", tmp_path) as box:
        tokens = await box.service.sign_up(ADA)
        with acting(person(tokens)):
            for _ in range(5):
                with pytest.raises(Error, match="is wrong"):
                    await box.service.change_password(ChangePassword("wrong password", "another secret"))
            with pytest.raises(Error, match="is wrong"):
                await box.service.change_email(ChangeEmail("new@x.org", PASSWORD))
            box.service.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]  # the test's own clock
            await box.service.change_password(ChangePassword(PASSWORD, "another secret"))


# Addresses


@BOTH
async def test_both_confirmations_at_once_change_the_address_once(database: str, tmp_path: Path) -> None:
    """A50."""
    async with mailbox(database, tmp_path) as box:
        service = box.service
        tokens = await service.sign_up(ADA)
        with acting(person(tokens)):
            await service.change_email(ChangeEmail("new@x.org", PASSWORD))
        proofs = [
            await box.secret("email_change_consent", "ada@x.org"),
            await box.secret("email_change_confirmation", "new@x.org"),
        ]

        outcomes = await asyncio.gather(
            *(service.confirm_email_change(MailedToken(each)) for each in proofs * 3), return_exceptions=True
        )

        assert sorted(each.changed for each in outcomes if not isinstance(each, BaseException)) == [False, True]
        assert all(isinstance(each, InvalidToken) for each in outcomes if isinstance(each, BaseException))
        [event] = await published(service, UserEmailChanged)
        assert (event.email, event.version) == ("new@x.org", 2)


@BOTH
async def test_an_address_that_was_taken_meanwhile_is_a_conflict(database: str, tmp_path: Path) -> None:
    """A50: and nothing of the change happens, whoever is faster."""
    async with mailbox(database, tmp_path) as box:
        service = box.service
        tokens = await service.sign_up(ADA)
        with acting(person(tokens)):
            await service.change_email(ChangeEmail("grace@x.org", PASSWORD))
        consent = await box.secret("email_change_consent", "ada@x.org")
        confirmation = await box.secret("email_change_confirmation", "grace@x.org")
        await service.confirm_email_change(MailedToken(consent))
        await service.register(GRACE)

        with pytest.raises(AddressTaken):
            await service.confirm_email_change(MailedToken(confirmation))

        assert await published(service, UserEmailChanged) == []
        assert (await access(service, tokens)).active
        assert await password_is(service, PASSWORD)


@BOTH
async def test_of_many_registrations_that_are_confirmed_at_once_one_opens_the_account(
    database: str, tmp_path: Path
) -> None:
    """A8: each with its own password."""
    async with mailbox(database, tmp_path, registration="verified") as box:
        service = box.service
        proofs = {}
        for turn in range(4):
            await service.request_account(Register("ada@x.org", f"secret number {turn}"))
            proofs[turn] = await box.secret("email_verification", "ada@x.org")

        outcomes = await asyncio.gather(
            *(service.verify_email(VerifyEmail(proof)) for proof in proofs.values()), return_exceptions=True
        )

        [won] = [turn for turn, each in enumerate(outcomes) if not isinstance(each, BaseException)]
        assert all(isinstance(each, AddressTaken | InvalidToken) for turn, each in enumerate(outcomes) if turn != won)
        assert await password_is(service, f"secret number {won}")
        assert len(await rows(service.db, "SELECT id FROM users")) == 1


async def test_a_repeated_registration_is_in_the_audit_log(tmp_path: Path) -> None:
    """A8, A57."""
    async with mailbox("sqlite", tmp_path, registration="verified") as box:
        await box.service.register(ADA)
        await box.service.request_account(Register("ADA@x.org", "another secret"))
        await box.deliver()

        assert ("user_repeated_signup", "success", "") in await audit(box.service)
        assert [(each.template, each.recipient) for each in box.orders] == [("account_exists", "ada@x.org")]


@BOTH
async def test_a_hundred_guesses_at_a_code_get_five_looks_and_no_more(database: str, tmp_path: Path) -> None:
    """A49, A57: however many at once, and each that was looked at is in the audit log."""
    async with mailbox(database, tmp_path) as box:
        service = box.service
        await service.register(ADA)
        flow = (await service.resend_verification(ResendVerification("ada@x.org"))).flow_id
        right = await box.secret("email_verification", "ada@x.org", "code")
        wrong = [code for number in range(101) if (code := f"{number:06}") != right][:100]

        outcomes = await asyncio.gather(
            *(service.verify_email(VerifyEmail(flow_id=flow, code=code)) for code in wrong), return_exceptions=True
        )

        assert {type(each) for each in outcomes} == {InvalidCode}
        [row] = await rows(service.db, "SELECT tries FROM auth_flows")
        assert row["tries"] == 5
        assert (await audit(service)).count(("email_verified", "failure", "wrong_code")) == 5
        with pytest.raises(InvalidCode):
            await service.verify_email(VerifyEmail(flow_id=flow, code=right))


# What is stored


async def test_no_secret_of_a_step_is_anywhere_in_the_database(tmp_path: Path) -> None:
    """A44, A57, A60: before and after the mail has left."""
    async with mailbox("sqlite", tmp_path, registration="verified") as box:
        service = box.service
        tokens = await service.sign_up(ADA)
        await service.forgot_password(ForgotPassword("ada@x.org"))
        await service.request_account(Register("eve@x.org", "a planted secret"))
        await service.resend_verification(ResendVerification("ada@x.org"))
        with acting(person(tokens)):
            await service.change_email(ChangeEmail("new@x.org", PASSWORD))
        before = await dump(service)
        await box.deliver()
        after = await dump(service)

        secrets = [each.text.rpartition("token=")[2] for order in box.orders for each in order.secrets]
        assert len(secrets) == 7
        for secret in (*secrets, "a planted secret", PASSWORD):
            if len(secret) > 6:  # six digits turn up in numbers
                assert secret not in before + after
        assert await rows(service.db, "SELECT secret FROM auth_flows WHERE secret <> ''") == []
        assert "orion1$" not in repr(await rows(service.db, "SELECT payload FROM auth_flows"))
        assert "omt_" not in repr(box.orders)


async def dump(service: AuthService) -> str:
    tables = await rows(service.db, "SELECT name FROM sqlite_master WHERE type = 'table'")
    return "".join([repr(await rows(service.db, f"SELECT * FROM {table['name']}")) for table in tables])


async def test_a_mail_is_ordered_again_until_notifications_has_it_and_then_no_more(tmp_path: Path) -> None:
    """A8: mail leaves by the job queue, and its secret is kept no longer than needed."""
    orders: list[MailOrder] = []
    away = True

    def take(order: MailOrder) -> None:
        if away:
            raise Unavailable("away")
        orders.append(order)

    async with auth_on("sqlite", tmp_path, notifications=Fake(Notifications, order_mail=take), **MANY) as service:
        await service.register(ADA)
        await service.forgot_password(ForgotPassword("ada@x.org"))
        [flow] = await rows(service.db, "SELECT id FROM auth_flows")
        with pytest.raises(Unavailable):
            await service.mail_flow(flow["id"])
        away = False
        for _ in range(3):
            await service.mail_flow(flow["id"])

        assert [order.key for order in orders] == [str(flow["id"])]


async def test_steps_are_gone_when_they_are_over_and_with_their_person(tmp_path: Path) -> None:
    """A14, A44."""
    async with mailbox("sqlite", tmp_path) as box:
        service = box.service
        account = await service.register(ADA)
        await service.register(GRACE)
        for email in ("ada@x.org", "grace@x.org"):
            await service.forgot_password(ForgotPassword(email))
        token = await box.secret("password_reset", "ada@x.org")
        async with service.db.transaction():
            await service.erase_account(UserErased(account.id, service.clock.now()))

        with pytest.raises(InvalidToken):
            await service.reset_password(ResetPassword(token, "another secret"))
        assert len(await rows(service.db, "SELECT id FROM auth_flows")) == 1
        service.clock.advance(timedelta(minutes=30))  # type: ignore[attr-defined]  # the test's own clock
        await service.purge()
        assert await rows(service.db, "SELECT id FROM auth_flows") == []


async def test_what_ends_sessions_is_told_and_audited_each(tmp_path: Path) -> None:
    """A34, A57."""
    async with mailbox("sqlite", tmp_path) as box:
        service = box.service
        first = await service.sign_up(ADA)
        second = await service.login(Login("ada@x.org", PASSWORD))
        await service.forgot_password(ForgotPassword("ada@x.org"))
        with acting(ANONYMOUS):
            await service.reset_password(ResetPassword(await box.secret("password_reset", "ada@x.org"), "another one"))

        told = await published(service, SessionRevoked)
        assert {str(event.session_id) for event in told} == {claims(each)["sid"] for each in (first, second)}
        assert {event.reason for event in told} == {"password_reset"}
        found = await audit(service)
        assert found.count(("session_revoked", "success", "password_reset")) == 2
        assert ("password_reset", "success", "") in found
