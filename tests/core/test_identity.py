"""Who is behind a bearer token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orion_core.adapters.memory_cache import MemoryCache
from orion_core.context import Actor, current
from orion_core.contracts.auth import AUDIENCE, Access, AccessChanged, Auth, PublicKey, SessionRevoked
from orion_core.contracts.auth_access import RoleChanged
from orion_core.contracts.auth_api_keys import ApiKeyRevoked, KeyAccess
from orion_core.errors import Internal, Unauthenticated, Unavailable
from orion_core.events import Envelope, event_type
from orion_core.identity import TokenIdentity
from orion_core.ports.cache import CacheUnavailable
from orion_core.ports.check import Check
from orion_core.testing.clock import MovableClock
from orion_core.testing.fake import Fake

ISSUER = "https://x.org"
SECRET = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
USER, SESSION, KEY = uuid4(), uuid4(), uuid4()
ADMIN = Access(True, ("admin",), ("*",))


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public(secret: Ed25519PrivateKey, kid: str = "k1") -> PublicKey:
    return PublicKey(kid=kid, x=encode(secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)))


class AwayCache:
    """A cache that cannot be reached."""

    async def get(self, key: str) -> bytes | None:
        raise CacheUnavailable("away")

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        raise CacheUnavailable("away")

    async def delete(self, *keys: str) -> None:
        raise CacheUnavailable("away")

    async def check(self) -> Check:
        return Check("warn")

    async def aclose(self) -> None:
        return


class World:
    """One auth service, and any number of processes that verify its tokens."""

    def __init__(self) -> None:
        self.clock = MovableClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        self.cache = MemoryCache(self.clock)
        self.keys: tuple[PublicKey, ...] = (public(SECRET),)
        self.access = ADMIN
        self.failure: Exception | None = None
        self.during: Callable[[], Any] | None = None
        self.asked_keys = 0
        self.asked_access: list[tuple[UUID, int]] = []
        self.askers: set[str] = set()
        self.key = KeyAccess(active=False)
        self.asked_key: list[str] = []
        self.auth = Fake(Auth, keys=self._keys, access=self._access, key_access=self._key_access)

    def identity(self, *, local: bool = False, cache: Any = None) -> TokenIdentity:
        return TokenIdentity(
            self.auth, issuer=ISSUER, audience=AUDIENCE, clock=self.clock, cache=cache or self.cache, local=local
        )

    async def _keys(self) -> tuple[PublicKey, ...]:
        self.asked_keys += 1
        self.askers.add(current().actor.name)
        if self.failure:
            raise self.failure
        return self.keys

    async def _access(self, session_id: UUID, version: int) -> Access:
        self.asked_access.append((session_id, version))
        self.askers.add(current().actor.name)
        if self.failure:
            raise self.failure
        answer = self.access
        if self.during:
            await self.during()
        return answer

    async def _key_access(self, fingerprint: str) -> KeyAccess:
        self.asked_key.append(fingerprint)
        self.askers.add(current().actor.name)
        if self.failure:
            raise self.failure
        answer = self.key
        if self.during:
            await self.during()
        return answer

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(USER),
            "sid": str(SESSION),
            "jti": "j1",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "auth_time": now,
            "amr": ["pwd"],
            "ver": 1,
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, *, secret: Ed25519PrivateKey = SECRET, kid: str = "k1", typ: str = "at+jwt", **changed: Any) -> str:
        return forged({"alg": "EdDSA", "typ": typ, "kid": kid}, self.claims(**changed), secret.sign)


def forged(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token put together by hand, as an attacker does: libraries refuse to make most of these."""
    body = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{body}.{encode(sign(body.encode()))}"


def envelope(event: Any) -> Envelope:
    kind = event_type(type(event))
    return Envelope(
        id=uuid4(),
        name=kind.name,
        version=1,
        source="/orion/auth",
        subject="",
        sequence=1,
        time=datetime.now(UTC),
        data=json.dumps({field: str(getattr(event, field)) for field in type(event).__annotations__}),
        correlation_id="",
        causation_id="",
        started="",
        tracestate="",
        originator="",
        heard=False,
    )


REVOKED = SessionRevoked(SESSION, USER, "logout")
CHANGED = AccessChanged(USER)
ROLE = RoleChanged("admin")
BOTH = pytest.mark.parametrize("local", [True, False], ids=["auth here", "auth elsewhere"])


@BOTH
async def test_a_good_token_gives_the_person_with_session_roles_and_permissions(local: bool) -> None:
    """A16."""
    world = World()

    actor = await world.identity(local=local).verify(world.token())

    assert actor == Actor("user", str(USER), session=str(SESSION), roles=("admin",), permissions=("*",))
    assert world.asked_access == [(SESSION, 1)]
    assert world.askers == {"service:identity"}


@BOTH
async def test_a_token_with_an_actor_names_who_acts(local: bool) -> None:
    """A61."""
    world, admin = World(), uuid4()

    actor = await world.identity(local=local).verify(world.token(act={"sub": str(admin)}))

    assert (actor.id, actor.impersonator) == (str(USER), str(admin))


@pytest.mark.parametrize(
    "act", ["admin", {}, {"sub": "admin"}, {"sub": str(UUID(int=1)), "act": {"sub": str(UUID(int=2))}}, []]
)
async def test_an_actor_that_auth_never_names_is_refused(act: Any) -> None:
    """A16, A61."""
    world = World()
    with pytest.raises(Unauthenticated):
        await world.identity().verify(world.token(act=act))


async def test_what_changes_for_an_impersonator_is_asked_anew_at_once() -> None:
    """A37, A61: their access ends in every process, not after a minute."""
    world, admin = World(), uuid4()
    identity, token = world.identity(), world.token(act={"sub": str(admin)})
    await identity.verify(token)
    await identity.heard(envelope(AccessChanged(uuid4())))
    await identity.verify(token)
    assert len(world.asked_access) == 1

    world.access = Access(active=False)
    await identity.heard(envelope(AccessChanged(admin)))

    with pytest.raises(Unauthenticated):
        await identity.verify(token)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"iss": "https://evil.example"}, id="wrong issuer"),
        pytest.param({"iss": ISSUER + "/"}, id="similar issuer"),
        pytest.param({"iss": [ISSUER]}, id="list of issuers"),
        pytest.param({"aud": "other"}, id="wrong audience"),
        pytest.param({"aud": ["other", AUDIENCE]}, id="several audiences"),
        pytest.param({"aud": [AUDIENCE]}, id="list of audiences"),
        *(
            pytest.param({name: ...}, id=f"no {name}")
            for name in ("iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time", "amr", "ver")
        ),
        *(
            pytest.param({name: value}, id=f"{name} {value!r}")
            for name in ("exp", "nbf", "iat")
            for value in ("9999999999", None, 9999999999.5, True, [9999999999])
        ),
        pytest.param({"sub": "ada"}, id="person that is no id"),
        pytest.param({"sub": 1}, id="person that is no text"),
        pytest.param({"sid": "x"}, id="session that is no id"),
        pytest.param({"ver": "1"}, id="epoch that is no number"),
        pytest.param({"ver": True}, id="epoch that is a boolean"),
    ],
)
async def test_claims_that_are_missing_or_wrong_are_refused(changed: dict[str, Any]) -> None:
    """A16."""
    world = World()
    with pytest.raises(Unauthenticated):
        await world.identity().verify(world.token(**changed))
    assert world.asked_access == []


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({"exp": -29}, True),
        ({"exp": -31}, False),
        ({"nbf": 29}, True),
        ({"nbf": 31}, False),
        ({"iat": 29}, True),
        ({"iat": 31}, False),
    ],
)
async def test_times_have_30_seconds_of_leeway(changed: dict[str, int], counts: bool) -> None:
    """A16."""
    world = World()
    now = int(world.clock.now().timestamp())
    token = world.token(**{name: now + seconds for name, seconds in changed.items()})
    if counts:
        assert await world.identity().verify(token)
    else:
        with pytest.raises(Unauthenticated):
            await world.identity().verify(token)


@BOTH
async def test_a_token_that_was_verified_before_still_expires(local: bool) -> None:
    """A16, A35."""
    world = World()
    identity, token = world.identity(local=local), world.token(exp=int(world.clock.now().timestamp()) + 10)
    assert await identity.verify(token)

    world.clock.advance(timedelta(seconds=41))

    with pytest.raises(Unauthenticated):
        await identity.verify(token)


async def test_keys_and_algorithms_are_not_confused() -> None:
    """A16: the public key must never serve as an HMAC secret, in whatever form it was found."""
    world = World()
    key = SECRET.public_key()
    forms = [
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        key.public_bytes(Encoding.Raw, PublicFormat.Raw),
        json.dumps({"kty": "OKP", "crv": "Ed25519", "x": public(SECRET).x, "alg": "EdDSA", "kid": "k1"}).encode(),
        public(SECRET).x.encode(),
        b"",
    ]
    for form in forms:
        for alg, digest in (("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)):
            for declared in (alg, "EdDSA"):
                header = {"alg": declared, "typ": "at+jwt", "kid": "k1"}
                token = forged(header, world.claims(), lambda body, f=form, d=digest: hmac.digest(f, body, d))
                with pytest.raises(Unauthenticated):
                    await world.identity().verify(token)


@pytest.mark.parametrize(
    "header",
    [
        *({"alg": alg} for alg in ("none", "None", "NONE", "nOnE", "HS256", "RS256", "PS256", "ES256", "Ed448")),
        {"typ": "JWT"},
        {"typ": "rt+jwt"},
        {"crit": ["exp"]},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": public(OTHER).x}},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/x.pem"},
        {"x5c": ["AAAA"]},
        {"kid": "../../dev/null"},
    ],
)
async def test_a_header_that_asks_for_anything_else_is_refused_though_rightly_signed(header: dict[str, Any]) -> None:
    """A16."""
    world = World()
    token = forged({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1", **header}, world.claims(), SECRET.sign)
    with pytest.raises(Unauthenticated):
        await world.identity().verify(token)


async def test_a_forged_or_changed_token_is_refused() -> None:
    """A16."""
    world = World()
    good = world.token()
    head, _, signature = good.split(".")
    other = world.token(sub=str(uuid4())).split(".")[1]
    identity = world.identity()
    assert await identity.verify(good)

    for bad in (
        world.token(secret=OTHER),
        f"{head}.{other}.{signature}",
        f"{good}=",
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good + "A",
        "x" * 10_000,
        "ä",
        "\ud800",
        "",
        "ort_" + "A" * 43,
    ):
        with pytest.raises(Unauthenticated):
            await identity.verify(bad)


# Keys


async def test_an_unknown_key_causes_at_most_one_fetch_in_ten_seconds() -> None:
    """A19."""
    world = World()
    identity = world.identity()
    assert await identity.verify(world.token())
    assert world.asked_keys == 1

    for turn in range(1, 4):
        world.clock.advance(timedelta(seconds=10))
        for kid in range(20):
            with pytest.raises(Unauthenticated):
                await identity.verify(world.token(kid=f"unknown-{kid}"))
        assert world.asked_keys == 1 + turn
        assert await identity.verify(world.token())


async def test_a_new_key_is_found_by_asking_once_more() -> None:
    """A18, A19."""
    world = World()
    identity = world.identity()
    assert await identity.verify(world.token())
    world.keys = (public(OTHER, "k2"), *world.keys)
    world.clock.advance(timedelta(seconds=10))

    assert await identity.verify(world.token(secret=OTHER, kid="k2"))
    assert await identity.verify(world.token())


async def test_a_key_that_was_withdrawn_counts_no_more_after_five_minutes() -> None:
    """A18."""
    world = World()
    identity = world.identity()
    assert await identity.verify(world.token())
    world.keys = (public(OTHER, "k2"),)

    world.clock.advance(timedelta(seconds=300))

    with pytest.raises(Unauthenticated):
        await identity.verify(world.token())


async def test_an_error_never_empties_the_keys() -> None:
    """A19."""
    world = World()
    identity = world.identity(local=False)
    assert await identity.verify(world.token())
    world.failure = Unavailable("auth is away")

    world.clock.advance(timedelta(seconds=301))
    with pytest.raises(Unavailable):
        await identity.verify(world.token(kid="unknown"))
    world.failure = None
    assert await identity.verify(world.token())


async def test_a_key_that_may_not_verify_is_never_used_and_empties_nothing() -> None:
    """A17, A19."""
    world = World()
    identity = world.identity()
    assert await identity.verify(world.token())
    world.keys = (PublicKey(kid="k3", x="AAAA"),)

    world.clock.advance(timedelta(seconds=301))

    assert await identity.verify(world.token())


@pytest.mark.parametrize("failure", [Unavailable("away"), Internal("broken")])
async def test_without_any_key_nothing_can_be_decided(failure: Exception) -> None:
    """A36."""
    world = World()
    world.failure = failure
    identity = world.identity()

    for _ in range(3):
        with pytest.raises(Unavailable):
            await identity.verify(world.token())
    assert world.asked_keys == 1
    world.failure = None
    world.clock.advance(timedelta(seconds=1))
    assert await identity.verify(world.token())


async def test_many_requests_at_once_fetch_the_keys_once() -> None:
    """A19."""
    world = World()
    identity = world.identity()
    await asyncio.gather(*(identity.verify(world.token()) for _ in range(20)))
    assert world.asked_keys == 1


# Access


async def test_where_auth_is_served_it_is_asked_every_time() -> None:
    """A33."""
    world = World()
    identity, token = world.identity(local=True), world.token()
    for _ in range(3):
        assert await identity.verify(token)
    world.access = Access(False)
    with pytest.raises(Unauthenticated):
        await identity.verify(token)
    assert len(world.asked_access) == 4


async def test_elsewhere_it_is_asked_once_a_minute_for_all_processes() -> None:
    """A35."""
    world = World()
    one, two = world.identity(), world.identity()
    token = world.token()
    for identity in (one, two, one, two):
        assert await identity.verify(token)
    assert len(world.asked_access) == 1

    world.clock.advance(timedelta(seconds=60))
    assert await one.verify(token)
    assert len(world.asked_access) == 2


async def test_what_is_kept_expires_after_it_was_written_not_after_it_was_read() -> None:
    """A35."""
    world = World()
    identity, token = world.identity(), world.token()
    for _ in range(8):
        assert await identity.verify(token)
        world.clock.advance(timedelta(seconds=10))
    assert len(world.asked_access) == 2


async def test_what_one_process_was_told_counts_in_another_no_longer_than_a_minute_in_all() -> None:
    """A35: also when no event arrives, because the bus is down."""
    world = World()
    one, two, token = world.identity(), world.identity(), world.token()
    assert await one.verify(token)
    world.access = Access(False)

    world.clock.advance(timedelta(seconds=59))
    assert await two.verify(token)
    world.clock.advance(timedelta(seconds=1))

    for identity in (one, two, world.identity()):
        with pytest.raises(Unauthenticated):
            await identity.verify(token)


async def test_a_shared_answer_that_outlived_its_time_is_as_nothing() -> None:
    """A35: whatever the shared cache thinks of its own clock."""
    world = World()
    old = {"version": 1, "access": {"active": True}, "until": world.clock.now().timestamp()}
    await world.cache.put(f"access:{SESSION}", json.dumps(old).encode(), 60)
    world.access = Access(False)
    with pytest.raises(Unauthenticated):
        await world.identity().verify(world.token())


async def test_a_refusal_is_kept_for_five_seconds() -> None:
    """A35."""
    world = World()
    world.access = Access(False)
    identity, token = world.identity(), world.token()
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await identity.verify(token)
    assert len(world.asked_access) == 1

    world.access = ADMIN
    world.clock.advance(timedelta(seconds=5))
    assert await identity.verify(token)


async def test_another_epoch_of_the_same_session_is_asked_anew() -> None:
    """A34."""
    world = World()
    identity = world.identity()
    assert await identity.verify(world.token())
    assert await identity.verify(world.token(ver=2))
    assert await world.identity().verify(world.token(ver=3))
    assert [version for _, version in world.asked_access] == [1, 2, 3]


@pytest.mark.parametrize("event", [REVOKED, CHANGED, ROLE], ids=["session revoked", "access changed", "role changed"])
async def test_an_event_drops_what_it_makes_untrue_in_every_process(event: Any) -> None:
    """A35, A37."""
    world = World()
    processes = [world.identity() for _ in range(3)]
    token = world.token()
    for identity in processes:
        assert await identity.verify(token)
    world.access = Access(False)

    for identity in processes:
        await identity.heard(envelope(event))

    for identity in processes:
        with pytest.raises(Unauthenticated):
            await identity.verify(token)


@pytest.mark.parametrize("event", [REVOKED, CHANGED, ROLE], ids=["session revoked", "access changed", "role changed"])
async def test_an_event_that_others_have_not_heard_yet_is_not_undone_by_the_shared_cache(event: Any) -> None:
    """A35, A37."""
    world = World()
    quick, slow = world.identity(), world.identity()
    token = world.token()
    assert await slow.verify(token)
    world.access = Access(False)

    await quick.heard(envelope(event))
    until = world.clock.now().timestamp() + 60
    late = {"version": 1, "access": {"active": True, "roles": ["admin"], "permissions": []}, "until": until}
    await world.cache.put(f"access:{SESSION}", json.dumps(late).encode(), 60)
    assert await world.identity().verify(token), "this is what the shared cache says"

    with pytest.raises(Unauthenticated):
        await quick.verify(token)


@pytest.mark.parametrize("event", [REVOKED, CHANGED, ROLE], ids=["session revoked", "access changed", "role changed"])
async def test_an_answer_that_was_overtaken_by_an_event_is_not_kept(event: Any) -> None:
    """A35, A37."""
    world = World()
    identity, token = world.identity(), world.token()

    async def revoked_meanwhile() -> None:
        world.access = Access(False)
        await identity.heard(envelope(event))

    world.during = revoked_meanwhile
    await identity.verify(token)
    world.during = None

    for process in (identity, world.identity()):
        with pytest.raises(Unauthenticated):
            await process.verify(token)


async def test_events_about_others_drop_nothing() -> None:
    """A35."""
    world = World()
    identity, token = world.identity(), world.token()
    assert await identity.verify(token)
    await identity.heard(envelope(SessionRevoked(uuid4(), uuid4(), "logout")))
    await identity.heard(envelope(AccessChanged(uuid4())))
    await identity.heard(envelope(RoleChanged("clerk")))
    await identity.heard(envelope(ApiKeyRevoked(uuid4(), uuid4())))
    assert await identity.verify(token)
    assert len(world.asked_access) == 1


async def test_without_the_cache_auth_is_asked_and_the_process_keeps_what_it_says() -> None:
    """A36."""
    world = World()
    identity, token = world.identity(cache=AwayCache()), world.token()
    for _ in range(3):
        assert await identity.verify(token)
    assert len(world.asked_access) == 1

    await identity.heard(envelope(REVOKED))
    world.access = Access(False)
    with pytest.raises(Unauthenticated):
        await identity.verify(token)


@pytest.mark.parametrize("kept", [b"", b"garbage", b"{}", b'{"version":1,"access":{"active":"yes"}}'])
async def test_garbage_in_the_shared_cache_is_as_nothing(kept: bytes) -> None:
    """A36."""
    world = World()
    await world.cache.put(f"access:{SESSION}", kept, 60)
    assert await world.identity().verify(world.token())
    assert len(world.asked_access) == 1


@BOTH
@pytest.mark.parametrize("failure", [Unavailable("away"), Internal("broken")])
async def test_when_auth_cannot_say_nobody_is_let_in(local: bool, failure: Exception) -> None:
    """A36."""
    world = World()
    identity, token = world.identity(local=local), world.token()
    assert await identity.verify(token)
    world.failure = failure
    world.clock.advance(timedelta(seconds=60))

    with pytest.raises(Unavailable):
        await identity.verify(token)


# API keys

SECRET_KEY = "oak_" + "k" * 43


def key_access(world: World, *scopes: str) -> KeyAccess:
    ends = world.clock.now() + timedelta(seconds=90)
    return KeyAccess(True, KEY, USER, ends, ("clerk",), ("memos:read",), scopes, True)


async def test_an_api_key_is_its_owner_within_its_scopes() -> None:
    """A53: auth never sees the key, only its hash."""
    world = World()
    world.key = key_access(world, "memos:read", "own:read")
    actor = await world.identity().verify(SECRET_KEY)

    assert actor == Actor(
        "user",
        str(USER),
        session=f"key:{KEY}",
        roles=("clerk",),
        permissions=("memos:read",),
        granted=True,
        scopes=("memos:read", "own:read"),
    )
    assert world.asked_key == [hashlib.sha256(SECRET_KEY.encode()).hexdigest()]
    assert world.askers == {"service:identity"}


async def test_an_unknown_api_key_is_refused_and_asked_about_once_in_five_seconds() -> None:
    """A35."""
    world = World()
    identity = world.identity()
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await identity.verify(SECRET_KEY)
    assert len(world.asked_key) == 1
    world.clock.advance(timedelta(seconds=5))
    world.key = key_access(world)
    assert await identity.verify(SECRET_KEY)


@pytest.mark.parametrize("token", [f"oak_{text}" for text in ("", "k" * 42, "k" * 44, "k" * 42 + ".", "é" * 43)])
async def test_nobody_is_asked_about_what_is_no_api_key(token: str) -> None:
    """A31."""
    world = World()
    with pytest.raises(Unauthenticated):
        await world.identity(local=True).verify(token)
    assert world.asked_key == []


async def test_an_api_key_is_kept_for_a_minute_and_never_past_its_end() -> None:
    """A35."""
    world = World()
    world.key = key_access(world)
    identity = world.identity()
    for seconds, asked in ((0, 1), (59, 1), (1, 2), (29, 2)):
        world.clock.advance(timedelta(seconds=seconds))
        assert await identity.verify(SECRET_KEY)
        assert len(world.asked_key) == asked
    world.clock.advance(timedelta(seconds=1))
    world.key = KeyAccess(active=False)
    with pytest.raises(Unauthenticated):
        await identity.verify(SECRET_KEY)


async def test_where_auth_is_served_it_is_asked_about_an_api_key_every_time() -> None:
    world = World()
    world.key = key_access(world)
    identity = world.identity(local=True)
    assert await identity.verify(SECRET_KEY)
    world.key = KeyAccess(active=False)
    with pytest.raises(Unauthenticated):
        await identity.verify(SECRET_KEY)


@pytest.mark.parametrize("during", [False, True])
@pytest.mark.parametrize(
    "event", [ApiKeyRevoked(KEY, USER), CHANGED, RoleChanged("clerk")], ids=lambda e: type(e).__name__
)
async def test_an_event_drops_what_is_kept_of_an_api_key(event: Any, during: bool) -> None:
    """A35, A37."""
    world = World()
    world.key = key_access(world)
    identity = world.identity()

    async def meanwhile() -> None:
        world.key = KeyAccess(active=False)
        await identity.heard(envelope(event))

    world.during = meanwhile if during else None
    assert await identity.verify(SECRET_KEY)
    world.during = None
    if not during:
        await meanwhile()

    with pytest.raises(Unauthenticated):
        await identity.verify(SECRET_KEY)


@BOTH
async def test_when_auth_is_away_no_api_key_counts(local: bool) -> None:
    """A36."""
    world = World()
    world.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await world.identity(local=local).verify(SECRET_KEY)
