"""Who is behind a bearer token: the adapter of the port `Identity` for tokens that auth signed.

The signature and the claims are checked here, with keys that are fetched from `Auth.keys` and kept. Whether the session
still counts, and what it may do, is asked of `Auth.access`: every time where auth is served in the same process,
otherwise at most once a minute per session, and anew when an event says that it changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs
import jwt

from orion_core import codec, jws
from orion_core.context import Actor, acting
from orion_core.contracts.auth import Access, AccessChanged, Auth, SessionRevoked
from orion_core.errors import Error, Invalid, Unauthenticated, Unavailable
from orion_core.events import Envelope, event_type
from orion_core.ports.cache import Cache, CacheUnavailable
from orion_core.ports.clock import Clock

TYPE = "at+jwt"
LEEWAY = 30.0
KEYS_LIVE = 300.0
KEYS_PAUSE = 10.0
KEYS_FIRST_PAUSE = 1.0
KEYS_WAIT = 5.0
ACCESS_LIVES = 60.0
REFUSAL_LIVES = 5.0
ENTRIES = 10_000
_REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time", "amr", "ver"]
_SELF = Actor("service", "identity")

T = TypeVar("T")


@attrs.frozen
class _Claims:
    user: str
    session: UUID
    version: int
    not_before: float
    expires: float


@attrs.frozen
class _Known:
    user: str
    version: int
    access: Access


@attrs.frozen
class _Shared:
    version: int
    access: Access


class TokenIdentity:
    """Keeps the port `Identity`. `local` says that auth is served in this process, so that asking it costs little."""

    def __init__(self, auth: Auth, *, issuer: str, audience: str, clock: Clock, cache: Cache, local: bool) -> None:
        self._auth = auth
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._cache = cache
        self._local = local
        self._keys = _Keys(auth, self._now)
        self._verified: _Kept[_Claims] = _Kept(ENTRIES)
        self._known: _Kept[_Known] = _Kept(ENTRIES)
        self._dropped: _Kept[int] = _Kept(ENTRIES)
        self._drops = 0

    async def verify(self, token: str) -> Actor:
        """See `Identity.verify`."""
        claims = await self._claims(token)
        access = await (self._ask(claims) if self._local else self._access(claims))
        if not access.active:
            raise Unauthenticated("the session has ended: sign in again")
        return Actor(
            "user",
            claims.user,
            session=str(claims.session),
            roles=access.roles,
            permissions=access.permissions,
        )

    async def heard(self, envelope: Envelope) -> None:
        """Forget what an event says has changed: a session that was revoked, or what a person may do."""
        if envelope.name == event_type(SessionRevoked).name:
            session = str(json.loads(envelope.data)["session_id"])
            await self._drop(session, [session])
        elif envelope.name == event_type(AccessChanged).name:
            user = str(json.loads(envelope.data)["user_id"])
            await self._drop(user, [session for session, known in self._known.items() if known.user == user])

    async def _claims(self, token: str) -> _Claims:
        now = self._now()
        if len(token) > jws.MAX_BYTES or not token.isascii():
            raise Unauthenticated("the access token does not count: it is too long or no token")
        fingerprint = hashlib.sha256(token.encode()).hexdigest()
        claims = self._verified.get(fingerprint, now)
        if claims is None:
            claims = await self._verified_claims(token)
            self._verified.put(fingerprint, claims, min(now + ACCESS_LIVES, claims.expires))
        if now >= claims.expires + LEEWAY:
            raise Unauthenticated("the access token has expired: refresh it")
        if now < claims.not_before - LEEWAY:
            raise Unauthenticated("the access token does not count yet")
        return claims

    async def _verified_claims(self, token: str) -> _Claims:
        try:
            found = jws.parse(token, typ=TYPE)
        except jws.BadToken as error:
            raise Unauthenticated(f"the access token does not count: {error}") from None
        key = await self._keys.get(found.kid)
        if key is None or key.algorithm_name != found.alg:
            raise Unauthenticated("the access token does not count: it is signed with an unknown key")
        try:
            # The time is checked against the injected clock, which PyJWT does not know.
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": _REQUIRED,
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            return _claims(claims)
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated("the access token does not count") from error

    async def _access(self, claims: _Claims) -> Access:
        now, session = self._now(), str(claims.session)
        known = self._known.get(session, now)
        if known is not None and known.version == claims.version:
            return known.access
        drops = self._drops
        # What was dropped a moment ago may still be in the shared cache, put there by a process that hears later.
        shared = self._dropped_at(claims) is None
        access = await self._cached(claims) if shared else None
        asked = access is None
        if access is None:
            access = await self._ask(claims)
        if (self._dropped_at(claims) or 0) > drops:
            return access  # it changed meanwhile: right for this request, and not to be kept
        lives = ACCESS_LIVES if access.active else REFUSAL_LIVES
        until = min(now + lives, claims.expires)
        self._known.put(session, _Known(claims.user, claims.version, access), until)
        if asked and shared and access.active and until > now:
            await self._share(claims, access, until - now)
            if (self._dropped_at(claims) or 0) > drops:
                await self._unshare([session])
        return access

    async def _ask(self, claims: _Claims) -> Access:
        try:
            with acting(_SELF):
                return await self._auth.access(claims.session, claims.version)
        except Unavailable:
            raise
        except Error as error:
            raise Unavailable("it cannot be decided whether the session counts") from error

    async def _cached(self, claims: _Claims) -> Access | None:
        try:
            kept = await self._cache.get(_cache_key(str(claims.session)))
            found = None if kept is None else codec.loads(kept, _Shared)
        except (CacheUnavailable, Invalid):
            return None
        return found.access if found is not None and found.version == claims.version else None

    async def _share(self, claims: _Claims, access: Access, ttl: float) -> None:
        kept = codec.dumps(_Shared(claims.version, access)).encode()
        with contextlib.suppress(CacheUnavailable):
            await self._cache.put(_cache_key(str(claims.session)), kept, ttl)

    async def _unshare(self, sessions: Iterable[str]) -> None:
        with contextlib.suppress(CacheUnavailable):
            await self._cache.delete(*map(_cache_key, sessions))

    async def _drop(self, subject: str, sessions: Sequence[str]) -> None:
        self._drops += 1
        # Twice the life of an entry: one put in the shared cache just now, and then taken over from there.
        self._dropped.put(subject, self._drops, self._now() + 2 * ACCESS_LIVES)
        for session in sessions:
            self._known.forget(session)
        if sessions:
            await self._unshare(sessions)

    def _dropped_at(self, claims: _Claims) -> int | None:
        now = self._now()
        found = [self._dropped.get(subject, now) for subject in (str(claims.session), claims.user)]
        return max((drop for drop in found if drop is not None), default=None)

    def _now(self) -> float:
        return self._clock.now().timestamp()


class _Keys:
    """The verification keys by id, fetched again when they are old or one is missing; an error never empties them."""

    def __init__(self, auth: Auth, now: Callable[[], float]) -> None:
        self._auth = auth
        self._now = now
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._failed: Error | None = None
        self._fetching = asyncio.Lock()

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """The key called `kid`, None if auth has none; raises `Unavailable` when that cannot be found out."""
        key = self._keys.get(kid)
        if key is not None and (self._fresh() or self._fetching.locked()):
            return key
        async with self._fetching:
            if not (self._keys.get(kid) is not None and self._fresh()):
                await self._fetch()
        key = self._keys.get(kid)
        if key is None and self._failed is not None:
            raise Unavailable("the keys of access tokens cannot be fetched now") from self._failed
        return key

    def _fresh(self) -> bool:
        return self._now() - self._fetched < KEYS_LIVE

    async def _fetch(self) -> None:
        now = self._now()
        if now - self._tried < (KEYS_PAUSE if self._keys else KEYS_FIRST_PAUSE):
            return
        self._tried = now
        # Stays so if this request is cancelled meanwhile.
        self._failed = Unavailable("the keys of access tokens have not arrived")
        try:
            with acting(_SELF):
                async with asyncio.timeout(KEYS_WAIT):
                    found = await self._auth.keys()
            self._keys = {key.kid: jws.verification_key(codec.to_plain(key)) for key in found}
        except Error as error:
            self._failed = error
        except TimeoutError:
            pass
        except jws.BadToken as error:
            self._failed = Unavailable(f"auth published a key that may not verify: {error}")
        else:
            self._failed = None
            self._fetched = now


class _Kept(Generic[T]):
    """The `size` most recently used entries, each until its own time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, tuple[T, float]] = OrderedDict()

    def get(self, key: str, now: float) -> T | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        found, until = entry
        if until <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return found

    def put(self, key: str, found: T, until: float) -> None:
        self._entries[key] = (found, until)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)

    def items(self) -> list[tuple[str, T]]:
        return [(key, found) for key, (found, _) in self._entries.items()]


def _claims(given: Mapping[str, Any]) -> _Claims:
    version, subject = given["ver"], UUID(given["sub"])
    times = [given[name] for name in ("exp", "nbf", "iat", "auth_time")]
    if any(not isinstance(each, int) or isinstance(each, bool) for each in [*times, version]):
        raise ValueError("a time or the epoch is no whole number")
    expires, not_before, issued, _ = times
    return _Claims(str(subject), UUID(str(given["sid"])), version, max(not_before, issued), expires)


def _cache_key(session: str) -> str:
    return f"access:{session}"
