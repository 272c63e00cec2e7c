"""Second factors of `auth` built by hand."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
import pytest
from auth_by_hand import ADA, BOTH, PASSWORD, access, audit, auth_on, claims, person
from hypothesis import given
from hypothesis import strategies as st

from orion_core.context import SYSTEM, acting
from orion_core.contracts.auth import Login, Tokens
from orion_core.contracts.auth_accounts import ChangePassword
from orion_core.contracts.auth_factors import (
    FactorCode,
    FactorRequired,
    Factors,
    InvalidMfaToken,
    MfaChallenge,
    NoSuchFactor,
    SecondFactorNeeded,
    SignInTooOld,
    TooManyFactorTries,
    VerifyFactor,
    WrongFactorCode,
)
from orion_core.errors import Error, Forbidden
from orion_core.testing.clock import MovableClock
from orion_core.testing.engines import rows
from orion_plugins.auth import totp
from orion_plugins.auth.erasing import erase_account
from orion_plugins.auth.service import AuthService

LOGIN = Login("ada@x.org", PASSWORD)


@attrs.define
class Ada:
    """A person with an app, and the service they use."""

    auth: AuthService
    clock: MovableClock
    tokens: Tokens
    seed: bytes = b""
    codes: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """What the app shows now."""
        return totp.code_at(self.seed, totp.step_at(self.clock.now()))

    async def enrol(self) -> None:
        """Have an app, whose codes count from the next step on."""
        with acting(person(self.tokens)):
            self.seed = base64.b32decode((await self.auth.enrol_totp()).secret)
            self.codes = (await self.auth.confirm_totp(FactorCode(self.code))).codes
        self.clock.advance(timedelta(minutes=6))

    async def challenge(self) -> MfaChallenge:
        found = (await self.auth.sign_in(LOGIN)).challenge
        assert found is not None
        return found

    async def verify(self, code: str) -> Tokens:
        return await self.auth.verify_factor(VerifyFactor((await self.challenge()).mfa_token, code))


@asynccontextmanager
async def ada(database: str, folder: Path, *, enrolled: bool = True, **settings: object) -> AsyncIterator[Ada]:
    clock = MovableClock(datetime.now(UTC))
    async with auth_on(database, folder, clock=clock, **settings) as service:
        found = Ada(service, clock, await service.sign_up(ADA))
        if enrolled:
            await found.enrol()
        yield found


async def outcome(asked: Awaitable[object]) -> str:
    try:
        await asked
    except Error as error:
        return error.code
    return "done"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    """A38: the last six digits of RFC 6238, appendix B."""
    assert totp.code_at(b"12345678901234567890", seconds // 30) == code


@given(st.binary(min_size=20, max_size=20), st.integers(10**8, 10**10), st.integers(-4, 4))
def test_one_step_of_tolerance_and_no_more(seed: bytes, seconds: int, off: int) -> None:
    """A38: steps further away count only by the chance that their codes are the same."""
    now = datetime.fromtimestamp(seconds, UTC)
    near = {totp.code_at(seed, totp.step_at(now) + each) for each in (-1, 0, 1)}
    code = totp.code_at(seed, totp.step_at(now) + off)
    assert (totp.matching_step(seed, code, now) is not None) == (code in near)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "\u0661\u0662\u0663\u0664\u0665\u0666", "12345\n", "-12345"])
def test_only_six_ascii_digits_are_a_code(code: str) -> None:
    """A38."""
    assert not totp.is_code(code)


@BOTH
async def test_whoever_has_an_app_signs_in_with_password_and_code(database: str, tmp_path: Path) -> None:
    """A38, A33, A15: the session says how it was opened."""
    async with ada(database, tmp_path) as me:
        assert "mfa_token" not in repr(await me.challenge()).replace("MfaChallenge", "")
        with pytest.raises(SecondFactorNeeded):
            await me.auth.login(LOGIN)
        tokens = await me.verify(me.code)
        assert claims(tokens)["amr"] == ["pwd", "otp", "mfa"]
        assert claims(tokens)["sid"] != claims(me.tokens)["sid"]
        assert (await access(me.auth, tokens)).active
        refreshed = await me.auth.refresh(tokens.refresh_token)
        assert claims(refreshed)["amr"] == ["pwd", "otp", "mfa"]
        assert ("second_factor_verified", "success", "") in await audit(me.auth)


@BOTH
async def test_of_many_who_bring_one_code_at_once_one_gets_in(database: str, tmp_path: Path) -> None:
    """A38, ASVS 6.5.1: a step is usable once, by compare-and-set."""
    async with ada(database, tmp_path) as me:
        code = me.code
        tokens = [(await me.challenge()).mfa_token for _ in range(4)]
        found = await asyncio.gather(*(outcome(me.auth.verify_factor(VerifyFactor(each, code))) for each in tokens))
        assert sorted(found) == ["auth.wrong_factor_code"] * 3 + ["done"]


@BOTH
async def test_five_codes_are_tried_in_five_minutes_over_all_sessions(database: str, tmp_path: Path) -> None:
    """A38, A9, A13: neither a right password nor another challenge gives more tries."""
    async with ada(database, tmp_path) as me:
        wrong = "000000" if me.code != "000000" else "000001"
        tokens = [(await me.challenge()).mfa_token for _ in range(7)]
        found = await asyncio.gather(*(outcome(me.auth.verify_factor(VerifyFactor(each, wrong))) for each in tokens))
        assert sorted(found) == ["auth.too_many_factor_tries"] * 2 + ["auth.wrong_factor_code"] * 5
        with pytest.raises(TooManyFactorTries) as refused:
            await me.verify(me.code)
        assert refused.value.retry_after == 300
        me.clock.advance(timedelta(seconds=299))
        with pytest.raises(TooManyFactorTries):
            await me.verify(me.code)
        me.clock.advance(timedelta(seconds=1))
        assert (await access(me.auth, await me.verify(me.code))).active


@BOTH
async def test_each_of_ten_recovery_codes_counts_once(database: str, tmp_path: Path) -> None:
    """A39."""
    async with ada(database, tmp_path) as me:
        assert len(set(me.codes)) == 10
        # 24 characters of base32 are 120 bits.
        assert {len(each.replace("-", "")) for each in me.codes} == {24}
        tokens = [(await me.challenge()).mfa_token for _ in range(3)]
        asked = (me.auth.verify_factor(VerifyFactor(each, me.codes[0].lower())) for each in tokens)
        assert sorted(await asyncio.gather(*map(outcome, asked))) == ["auth.wrong_factor_code"] * 2 + ["done"]
        signed_in = await me.verify(me.codes[1])
        with acting(person(signed_in)):
            assert await me.auth.factors() == Factors(True, 8)


async def test_new_recovery_codes_void_the_old_ones(tmp_path: Path) -> None:
    """A39."""
    async with ada("sqlite", tmp_path) as me:
        with acting(person(me.tokens)):
            renewed = (await me.auth.renew_recovery_codes()).codes
        assert not set(renewed) & set(me.codes)
        with pytest.raises(WrongFactorCode):
            await me.verify(me.codes[0])
        assert (await me.verify(renewed[0])).access_token


async def test_nothing_stored_tells_a_secret(tmp_path: Path) -> None:
    """A60, A57, A39: seeds are sealed, codes and tokens are hashes."""
    async with ada("sqlite", tmp_path) as me:
        token = (await me.challenge()).mfa_token
        secrets = [token, totp.shown(me.seed), me.seed.hex(), *me.codes, *(each.replace("-", "") for each in me.codes)]
        tables = ("auth_totp_factors", "auth_recovery_codes", "auth_factor_challenges", "auth_audit_logs", "auth_flows")
        stored = [repr(await rows(me.auth.db, f"SELECT * FROM {table}")) for table in (*tables, "orion_outbox")]
        assert "[]" not in stored[:5]
        assert [each for each in secrets if any(each in text for text in stored)] == []


async def test_the_token_of_a_challenge_counts_once_for_five_minutes(tmp_path: Path) -> None:
    """A38."""
    async with ada("sqlite", tmp_path) as me:
        token = (await me.challenge()).mfa_token
        await me.auth.verify_factor(VerifyFactor(token, me.code))
        with pytest.raises(InvalidMfaToken):
            await me.auth.verify_factor(VerifyFactor(token, me.codes[0]))
        late = (await me.challenge()).mfa_token
        me.clock.advance(timedelta(minutes=5))
        for wrong in (late, "omf_x", ""):
            with pytest.raises(InvalidMfaToken):
                await me.auth.verify_factor(VerifyFactor(wrong, me.code))
        with pytest.raises(InvalidMfaToken):
            await me.auth.verify_factor(VerifyFactor((await me.challenge()).mfa_token, me.code), "cookie")


async def test_a_change_of_the_account_ends_sign_ins_that_wait(tmp_path: Path) -> None:
    """A34, A47: who learned the old password gets no further with it."""
    async with ada("sqlite", tmp_path) as me:
        token = (await me.challenge()).mfa_token
        with acting(person(me.tokens)):
            await me.auth.change_password(ChangePassword(PASSWORD, "another horse battery"))
        with pytest.raises(InvalidMfaToken):
            await me.auth.verify_factor(VerifyFactor(token, me.code))
        # The new password alone opens nothing either.
        done = await me.auth.sign_in(Login("ada@x.org", "another horse battery"))
        assert done.tokens is None


async def test_an_app_counts_when_its_first_code_came(tmp_path: Path) -> None:
    """A38, A34: until then nothing changes; then other sessions end and the owner is told."""
    async with ada("sqlite", tmp_path, enrolled=False) as me:
        other = await me.auth.login(LOGIN)
        with acting(person(me.tokens)):
            enrolment = await me.auth.enrol_totp()
            me.seed = base64.b32decode(enrolment.secret)
            address = urlsplit(enrolment.uri)
            assert (address.scheme, address.netloc, unquote(address.path)) == ("otpauth", "totp", "/ORION:ada@x.org")
            assert parse_qs(address.query)["secret"] == [enrolment.secret]
            assert await me.auth.factors() == Factors(False, 0)
            with pytest.raises(WrongFactorCode):
                await me.auth.confirm_totp(FactorCode("no code"))
        assert (await me.auth.sign_in(LOGIN)).tokens is not None
        with acting(person(me.tokens)):
            await me.auth.confirm_totp(FactorCode(me.code))
            with pytest.raises(NoSuchFactor):
                await me.auth.confirm_totp(FactorCode(me.code))
        assert not (await access(me.auth, other)).active
        assert (await access(me.auth, me.tokens)).active
        kinds = [row["kind"] for row in await rows(me.auth.db, "SELECT kind FROM auth_flows")]
        assert kinds == ["factors_changed"]


async def _renew(auth: AuthService) -> object:
    return await auth.renew_recovery_codes()


async def _remove(auth: AuthService) -> object:
    return await auth.remove_totp()


async def _enrol(auth: AuthService) -> object:
    return await auth.enrol_totp()


CHANGES: list[Callable[[AuthService], Awaitable[object]]] = [_renew, _remove, _enrol]


@pytest.mark.parametrize("change", CHANGES)
async def test_factors_are_changed_within_ten_minutes_of_a_sign_in(
    change: Callable[[AuthService], Awaitable[object]], tmp_path: Path
) -> None:
    """A33, ASVS 7.5.1, 7.5.3: a token that somebody found does not take the second factor away."""
    async with ada("sqlite", tmp_path) as me:
        me.clock.advance(timedelta(minutes=4, seconds=1))
        with acting(person(me.tokens)), pytest.raises(SignInTooOld):
            await change(me.auth)
        fresh = await me.verify(me.code)
        acts_as = attrs.evolve(person(fresh), impersonator=person(me.tokens).id)
        with acting(acts_as), pytest.raises(Forbidden):
            await change(me.auth)
        with acting(attrs.evolve(person(fresh), scopes=())), pytest.raises(Forbidden):
            await change(me.auth)
        with acting(person(fresh)):
            await change(me.auth)


async def test_without_the_app_a_password_is_enough_again(tmp_path: Path) -> None:
    """A39, A57: its recovery codes go with it."""
    async with ada("sqlite", tmp_path) as me:
        with acting(person(me.tokens)):
            await me.auth.remove_totp()
            assert await me.auth.factors() == Factors(False, 0)
            with pytest.raises(NoSuchFactor):
                await me.auth.remove_totp()
            with pytest.raises(NoSuchFactor):
                await me.auth.renew_recovery_codes()
        assert (await me.auth.login(LOGIN)).access_token
        assert ("factor_removed", "success", "") in await audit(me.auth)


async def test_an_administrator_helps_who_is_locked_out(tmp_path: Path) -> None:
    """A57, ASVS 6.4.4."""
    async with ada("sqlite", tmp_path) as me:
        user_id = me.tokens.user.id
        with acting(person(me.tokens)), pytest.raises(Forbidden):
            await me.auth.reset_factors(user_id)
        with acting(SYSTEM):
            await me.auth.reset_factors(user_id)
        assert not (await access(me.auth, me.tokens)).active
        assert (await me.auth.login(LOGIN)).access_token
        assert ("factors_reset", "success", "") in await audit(me.auth)


async def test_administrators_may_have_to_sign_in_with_a_factor(tmp_path: Path) -> None:
    """ASVS 6.3.3: before that they have no rights but those of everybody."""
    async with ada("sqlite", tmp_path, enrolled=False, admin_factor=True) as me:
        with acting(SYSTEM):
            await me.auth.assign_role(me.tokens.user.id, "admin")
        found = await access(me.auth, me.tokens)
        assert (found.active, found.roles, found.permissions) == (True, (), ())
        await me.enrol()
        signed_in = await me.verify(me.code)
        assert (await access(me.auth, signed_in)).permissions == ("*",)
        with acting(person(signed_in)), pytest.raises(FactorRequired):
            await me.auth.remove_totp()


async def test_erasure_forgets_the_factors(tmp_path: Path) -> None:
    """A60."""
    async with ada("sqlite", tmp_path) as me:
        await me.challenge()
        async with me.auth.db.transaction():
            await erase_account(me.tokens.user.id, me.clock.now())
        for table in ("auth_totp_factors", "auth_recovery_codes", "auth_factor_challenges"):
            assert await rows(me.auth.db, f"SELECT * FROM {table}") == []
