"""Failed sign-ins make the next ones wait, and mail is not sent without end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from auth_by_hand import ADA, BOTH, PASSWORD, audit, auth, auth_on
from hypothesis import given
from hypothesis import strategies as st

from orion_core.context import ANONYMOUS, Context, use
from orion_core.contracts.auth import InvalidCredentials, Login, Register
from orion_core.contracts.auth_accounts import ForgotPassword, ResendVerification, TooManyAttempts, TooManyMails
from orion_core.testing.engines import rows
from orion_plugins.auth import service as service_module
from orion_plugins.auth.service import AuthService
from orion_plugins.auth.throttle_rules import HOUR, MINUTE, WINDOW, Count, failure, mail
from orion_plugins.auth.throttles import network

RIGHT, WRONG = Login("ada@x.org", PASSWORD), Login("ada@x.org", "wrong password")
SECOND = timedelta(seconds=1)


def client(ip: str) -> Any:
    return use(Context(actor=ANONYMOUS, client_ip=ip))


async def tries(service: AuthService, login: Login) -> str:
    """How a sign-in ends: ``ok``, ``refused`` or ``limited``."""
    try:
        await service.login(login)
    except (InvalidCredentials, TooManyAttempts) as error:
        told = (error.status, error.code, error.errors, error.retry_after is not None)
    else:
        return "ok"
    ends = {
        (401, "auth.invalid_credentials", (), False): "refused",
        (429, "auth.too_many_attempts", (), True): "limited",
    }
    return ends[told]


def advance(service: AuthService, by: timedelta) -> None:
    service.clock.advance(by)  # type: ignore[attr-defined]  # the test's own clock


# The rules


def test_the_wait_doubles_up_to_fifteen_minutes_and_is_forgotten_after_twelve_hours() -> None:
    """A10."""
    count, now = Count(), 1_000_000
    waits = []
    for _ in range(20):
        count = failure(5, count, now) or pytest.fail("it had waited")
        waits.append(max(0, count.blocked_until_ms - now) // 1000)
        now = max(now, count.blocked_until_ms)

    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900, 900]
    last = count.times[-1]
    assert failure(5, count, last + 12 * HOUR - 1).blocked_until_ms > last + 12 * HOUR  # type: ignore[union-attr]
    assert failure(5, count, last + 12 * HOUR) == Count((last + 12 * HOUR,), 0, last + 12 * HOUR + WINDOW)


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60), st.integers(1, 8))
def test_no_fifteen_minutes_see_more_failures_than_the_limit_without_a_wait(gaps: list[int], limit: int) -> None:
    """A10: against the plain reading of the rule."""
    count, now, failed = Count(), 0, []
    for gap in gaps:
        now += gap
        after = failure(limit, count, now)
        recent = [each for each in failed if each > now - WINDOW]
        if after is None:
            assert len(recent) >= limit or len(failed) >= limit
            assert now < count.blocked_until_ms
        else:
            failed.append(now)
            count = after
            if len(recent) + 1 >= limit:
                assert count.blocked_until_ms >= now + 1000
            assert count.expires_ms > now


@given(st.lists(st.integers(0, 20 * MINUTE), max_size=80))
def test_no_minute_sees_two_mails_and_no_hour_six(gaps: list[int]) -> None:
    """A51: any minute and any hour, wherever it begins; and what may be sent is sent."""
    count, now, sent = Count(), 0, []
    for gap in gaps:
        now += gap
        after = mail(1, 5, count, now)
        minute = [each for each in sent if each > now - MINUTE]
        hour = [each for each in sent if each > now - HOUR]
        assert (after is not None) == (len(minute) < 1 and len(hour) < 5)
        if after is not None:
            sent.append(now)
            count = after


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ],
)
def test_a_client_is_an_ipv4_address_or_the_64_of_an_ipv6_one(one: str, other: str, same: bool) -> None:
    """A9."""
    assert (network(one) == network(other)) is same
    assert network("no address") == ""


# Signing in


@BOTH
async def test_a_hundred_guesses_at_once_get_five_looks_and_no_more(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A13: the right password among them tells nothing once the limit is reached."""
    async with auth_on(database, tmp_path) as service:
        await service.register(ADA)
        # What is compared is not what this is about: the comparisons all end before anything is counted.
        monkeypatch.setattr(service_module, "verify_password", lambda password, *_: password == PASSWORD)

        async def guess(number: int) -> str:
            with client(f"198.51.100.{number}"):
                return await tries(service, WRONG)

        assert set(await asyncio.gather(*map(guess, range(100)))) == {"refused"}

        [counter] = await rows(service.db, "SELECT state FROM auth_throttles WHERE blocked_until_ms > 0")
        assert counter["state"].count(",") == 4
        assert await tries(service, RIGHT) == "refused"
        assert await rows(service.db, "SELECT id FROM sessions") == []
        assert (await audit(service)).count(("signed_in", "failure", "too_early")) == 1


@BOTH
async def test_of_a_hundred_guesses_from_one_address_no_more_than_its_limit_are_looked_at(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A9, A13: each at another account."""
    async with auth_on(database, tmp_path, failures_per_address=7) as service:
        monkeypatch.setattr(service_module, "verify_password", lambda *_: False)

        async def guess(number: int) -> str:
            with client("198.51.100.1"):
                return await tries(service, Login(f"p{number}@x.org", "wrong password"))

        outcomes = await asyncio.gather(*map(guess, range(100)))

        assert (outcomes.count("refused"), outcomes.count("limited")) == (7, 93)


async def test_an_account_that_waits_answers_like_any_wrong_password_and_opens_again(tmp_path: Path) -> None:
    """A10, A11."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        assert [await tries(service, WRONG) for _ in range(5)] == ["refused"] * 5

        assert await tries(service, RIGHT) == "refused"
        advance(service, SECOND)
        assert await tries(service, RIGHT) == "ok"
        # A success forgets what was counted.
        assert [await tries(service, WRONG) for _ in range(4)] == ["refused"] * 4
        assert await tries(service, RIGHT) == "ok"


async def test_waiting_is_not_made_longer_by_asking(tmp_path: Path) -> None:
    """A10: nobody keeps an account closed by knocking."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        for _ in range(60):
            await tries(service, WRONG)
        advance(service, SECOND)

        assert await tries(service, RIGHT) == "ok"


async def test_failures_of_fifteen_minutes_ago_count_no_more(tmp_path: Path) -> None:
    """A10."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        for _ in range(4):
            await tries(service, WRONG)
        advance(service, timedelta(minutes=15))
        await tries(service, WRONG)

        assert await tries(service, RIGHT) == "ok"


async def test_unknown_accounts_wait_like_known_ones(tmp_path: Path) -> None:
    """A7, A11: the wait does not tell either."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        for email in ("ada@x.org", "nobody@x.org", "no address"):
            for _ in range(6):
                assert await tries(service, Login(email, "wrong password")) == "refused"

        found = await rows(service.db, "SELECT state, blocked_until_ms FROM auth_throttles")
        assert len(found) == 3
        assert len({row["blocked_until_ms"] for row in found}) == 1


async def test_only_the_address_limit_answers_when_to_come_back(tmp_path: Path) -> None:
    """A9, A11: a success clears the counter of the account, not that of the address."""
    async with auth(tmp_path, failures_per_address=5) as service:
        await service.register(ADA)
        await service.register(Register("grace@x.org", PASSWORD))
        with client("2001:db8:1:2::1"):
            for number in range(4):
                assert await tries(service, Login(f"p{number}@x.org", "wrong password")) == "refused"
            assert await tries(service, RIGHT) == "ok"
            assert await tries(service, WRONG) == "refused"
            assert await tries(service, Login("grace@x.org", PASSWORD)) == "limited"
            with pytest.raises(TooManyAttempts) as limited:
                await service.login(RIGHT)
            assert limited.value.retry_after == 1.0
        with client("2001:db8:1:2:3::4"):
            assert await tries(service, RIGHT) == "limited"
        with client("2001:db8:1:3::1"):
            assert await tries(service, RIGHT) == "ok"


async def test_an_account_that_waits_keeps_its_sessions_and_may_reset_its_password(tmp_path: Path) -> None:
    """A10."""
    async with auth(tmp_path) as service:
        tokens = await service.sign_up(ADA)
        for _ in range(8):
            await tries(service, WRONG)

        assert await service.refresh(tokens.refresh_token)
        await service.forgot_password(ForgotPassword("ada@x.org"))
        assert [row["kind"] for row in await rows(service.db, "SELECT kind FROM auth_flows")] == ["reset"]


@BOTH
async def test_right_passwords_at_once_all_count(database: str, tmp_path: Path) -> None:
    """A12."""
    async with auth_on(database, tmp_path) as service:
        await service.register(ADA)
        for _ in range(4):
            await tries(service, WRONG)

        assert await asyncio.gather(*(tries(service, RIGHT) for _ in range(12))) == ["ok"] * 12


async def test_counters_name_nobody_and_are_gone_when_they_have_expired(tmp_path: Path) -> None:
    """A14, A57."""
    async with auth(tmp_path, failures_per_address=5) as service:
        await service.register(ADA)
        with client("192.0.2.77"):
            for _ in range(5):
                await tries(service, WRONG)
            await service.forgot_password(ForgotPassword("ada@x.org"))

        found = await rows(service.db, "SELECT * FROM auth_throttles")
        assert len(found) == 4
        assert "ada" not in repr(found)
        assert "192.0.2" not in repr(found)
        advance(service, timedelta(hours=12) - SECOND)
        await service.purge()
        assert len(await rows(service.db, "SELECT key FROM auth_throttles")) == 2
        advance(service, SECOND)
        await service.purge()
        assert await rows(service.db, "SELECT key FROM auth_throttles") == []


async def test_another_process_knows_what_was_counted(tmp_path: Path) -> None:
    """A9: counters are in the database, so a restart forgets nothing."""
    async with auth(tmp_path) as service:
        await service.register(ADA)
        for _ in range(5):
            await tries(service, WRONG)
        again = AuthService(
            db=service.db,
            events=service.events,
            jobs=service.jobs,
            clock=service.clock,
            keyring=service.keyring,
            notifications=service.notifications,
            settings=service.settings,
            platform=service.platform,
        )
        async with again:
            assert await tries(again, RIGHT) == "refused"


# Mail


@BOTH
async def test_of_many_wishes_for_mail_at_once_one_is_granted(database: str, tmp_path: Path) -> None:
    """A51: to one mailbox, whoever asks, and whether or not it has an account."""
    async with auth_on(database, tmp_path) as service:
        await service.register(ADA)

        async def ask(number: int, email: str) -> str:
            with client(f"198.51.100.{number}"):
                try:
                    await service.forgot_password(ForgotPassword(email))
                except TooManyMails as error:
                    return f"in {error.retry_after}"
            return "ok"

        for first, email in ((1, "ada@x.org"), (100, "nobody@x.org")):
            outcomes = await asyncio.gather(*(ask(first + number, email) for number in range(12)))
            assert (outcomes.count("ok"), outcomes.count("in 60.0")) == (1, 11)


async def test_one_address_gets_one_mail_a_minute_and_five_an_hour(tmp_path: Path) -> None:
    """A51."""
    async with auth(tmp_path) as service:
        granted = []
        for number in range(61):
            with client("192.0.2.1"):
                try:
                    await service.resend_verification(ResendVerification(f"p{number}@x.org"))
                except TooManyMails:
                    pass
                else:
                    granted.append(number)
            advance(service, timedelta(minutes=1))

        assert granted == [0, 1, 2, 3, 4, 60]
