"""Who is behind a bearer token: the adapter of the port `Identity` for tokens that auth signed, and for API keys.

The signature and the claims are checked here, with keys that are fetched from `Auth.keys` and kept. Whether the session
still counts, and what it may do, is asked of `Auth.access`: every time where auth is served in the same process,
otherwise at most once a minute per session, and anew when an event says that it changed. API keys (``oak_…``) are
opaque: `Auth.key_access` knows them by their SHA-256, and what it answers is kept in the same way, in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs
import jwt

from orion_core import codec, jws
from orion_core.context import Actor, acting
from orion_core.contracts.auth import Access, AccessChanged, Auth, SessionRevoked
from orion_core.contracts.auth_access import RoleChanged
from orion_core.contracts.auth_api_keys import ApiKeyRevoked, KeyAccess
from orion_core.errors import Error, Invalid, Unauthenticated, Unavailable
from orion_core.events import Envelope, event_type
from orion_core.ports.cache import Cache, CacheUnavailable
from orion_core.ports.clock import Clock

TYPE = "at+jwt"
KEY_PREFIX = "oak_"
_API_KEY = re.compile(r"oak_[A-Za-z0-9_-]{43}")
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
    impersonator: str = ""


@attrs.frozen
class _Known:
    user: str
    version: int
    access: Access
    impersonator: str = ""


@attrs.frozen
class _Shared:
    version: int
    access: Access
    until: float


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
        self._keyed: _Kept[KeyAccess] = _Kept(ENTRIES)
        self._dropped: _Kept[int] = _Kept(ENTRIES)
        self._drops = 0

    async def verify(self, token: str) -> Actor:
        """See `Identity.verify`."""
        if token.startswith(KEY_PREFIX):
            return await self._key_holder(token)
        claims = await self._claims(token)
        access = await (self._asked(claims) if self._local else self._access(claims))
        if not access.active:
            raise Unauthenticated("the session has ended: sign in again")
        return Actor(
            "user",
            claims.user,
            session=str(claims.session),
            roles=access.roles,
            permissions=access.permissions,
            granted=access.granted,
            impersonator=claims.impersonator,
        )

    async def heard(self, envelope: Envelope) -> None:
        """Forget what an event says has changed: a session or API key, what a person may do, or what a role gives."""
        facts = json.loads(envelope.data)
        if envelope.name == event_type(SessionRevoked).name:
            session = str(facts["session_id"])
            await self._drop(session, [session])
        elif envelope.name == event_type(AccessChanged).name:
            user = str(facts["user_id"])
            self._forget_keys(lambda key: str(key.user_id) == user)
            concerned = [session for session, known in self._known.items() if user in (known.user, known.impersonator)]
            await self._drop(user, concerned)
        elif envelope.name == event_type(RoleChanged).name:
            role = str(facts["role"])
            self._forget_keys(lambda key: role in key.roles)
            holders = [session for session, known in self._known.items() if role in known.access.roles]
            await self._drop(_role(role), holders)
        elif envelope.name == event_type(ApiKeyRevoked).name:
            self._forget_keys(lambda key: str(key.key_id) == str(facts["key_id"]))
            await self._drop(str(facts["key_id"]), [])

    def _forget_keys(self, matching: Callable[[KeyAccess], bool]) -> None:
        for fingerprint, access in self._keyed.items():
            if matching(access):
                self._keyed.forget(fingerprint)

    async def _key_holder(self, token: str) -> Actor:
        if not _API_KEY.fullmatch(token):
            raise Unauthenticated("the API key does not count: it is no key")
        now, fingerprint = self._now(), hashlib.sha256(token.encode()).hexdigest()
        access = None if self._local else self._keyed.get(fingerprint, now)
        if access is None:
            drops = self._drops
            access = await self._ask(self._auth.key_access, fingerprint)
            if drops == self._drops:
                ends = access.expires_at.timestamp() if access.active and access.expires_at else now + REFUSAL_LIVES
                self._keyed.put(fingerprint, access, min(now + ACCESS_LIVES, ends))
        if not access.active:
            raise Unauthenticated("the API key does not count: it is unknown, expired or revoked")
        return Actor(
            "user",
            str(access.user_id),
            session=f"key:{access.key_id}",
            roles=access.roles,
            permissions=access.permissions,
            granted=access.granted,
            scopes=access.scopes,
        )

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
        cached = await self._cached(claims) if shared else None
        if cached is not None and self._dropped_at(claims, cached.access.roles) is not None:
            cached = None
        if cached is not None:
            # What another process was told a while ago counts here no longer than there.
            access, until = cached.access, min(cached.until, now + ACCESS_LIVES, claims.expires)
        else:
            access = await self._asked(claims)
            until = min(now + (ACCESS_LIVES if access.active else REFUSAL_LIVES), claims.expires)
        if (self._dropped_at(claims, access.roles) or 0) > drops:
            return access  # it changed meanwhile: right for this request, and not to be kept
        self._known.put(session, _Known(claims.user, claims.version, access, claims.impersonator), until)
        if cached is None and shared and access.active and until > now:
            await self._share(claims, _Shared(claims.version, access, until), until - now)
            if (self._dropped_at(claims, access.roles) or 0) > drops:
                await self._unshare([session])
        return access

    async def _asked(self, claims: _Claims) -> Access:
        return await self._ask(self._auth.access, claims.session, claims.version)

    async def _ask(self, operation: Callable[..., Awaitable[T]], *args: Any) -> T:
        try:
            with acting(_SELF):
                return await operation(*args)
        except Unavailable:
            raise
        except Error as error:
            raise Unavailable("it cannot be decided whether the credentials count") from error

    async def _cached(self, claims: _Claims) -> _Shared | None:
        try:
            kept = await self._cache.get(_cache_key(str(claims.session)))
            found = None if kept is None else codec.loads(kept, _Shared)
        except (CacheUnavailable, Invalid):
            return None
        counts = found is not None and found.version == claims.version and found.until > self._now()
        return found if counts else None

    async def _share(self, claims: _Claims, known: _Shared, ttl: float) -> None:
        with contextlib.suppress(CacheUnavailable):
            await self._cache.put(_cache_key(str(claims.session)), codec.dumps(known).encode(), ttl)

    async def _unshare(self, sessions: Iterable[str]) -> None:
        with contextlib.suppress(CacheUnavailable):
            await self._cache.delete(*map(_cache_key, sessions))

    async def _drop(self, subject: str, sessions: Sequence[str]) -> None:
        self._drops += 1
        # Longer than any entry lives that was made of an answer from before, however slow its maker is.
        self._dropped.put(subject, self._drops, self._now() + 2 * ACCESS_LIVES)
        for session in sessions:
            self._known.forget(session)
        if sessions:
            await self._unshare(sessions)

    def _dropped_at(self, claims: _Claims, roles: Iterable[str] = ()) -> int | None:
        now = self._now()
        found = [self._dropped.get(subject, now) for subject in (*_subjects(claims), *map(_role, roles))]
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
    session, act = UUID(str(given["sid"])), given.get("act")
    # RFC 8693, 4.1. A chain of actors is never issued.
    if act is not None and (not isinstance(act, dict) or act.keys() != {"sub"}):
        raise ValueError("the claim act is not an object with sub alone")
    impersonator = str(UUID(str(act["sub"]))) if act is not None else ""
    return _Claims(str(subject), session, version, max(not_before, issued), expires, impersonator)


def _subjects(claims: _Claims) -> list[str]:
    """Whose changes concern the bearer of the token: its session, its person, and who acts as them."""
    return [each for each in (str(claims.session), claims.user, claims.impersonator) if each]


def _role(name: str) -> str:
    # No id of a person or session begins like it.
    return f"role:{name}"


def _cache_key(session: str) -> str:
    return f"access:{session}"
