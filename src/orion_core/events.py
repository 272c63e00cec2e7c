"""Events: facts in the past tense, versioned, that one contract owns and any service may listen to.

::

    @event("user.registered", version=1, subject="user_id")
    class UserRegistered:
        user_id: UUID
        email: str

    class UsersService(Users):
        @on(UserRegistered)
        async def create_profile(self, event: UserRegistered) -> None: ...

A listener runs in one transaction with its inbox row: it may write, publish and enqueue, and may not call services.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast, dataclass_transform
from uuid import UUID

import attrs

from orion_core.values import must_be_async, value

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Awaitable[None]])
_EVENT = "__orion_event__"
_LISTENS = "__orion_listens__"


@attrs.frozen
class EventType:
    """What is known of an event class: its wire name, its version, the field that names its aggregate.

    `heard` says whether somebody must listen: publishing an event that reaches no queue is then an alarm.
    """

    name: str
    version: int
    subject: str
    heard: bool
    cls: type

    @property
    def family(self) -> str:
        """The first word of the name: it names the exchange ``<family>.events``."""
        return self.name.partition(".")[0]


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, attrs.Factory))
def event(name: str, *, version: int = 1, subject: str = "", heard: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class an event called `name` (``family.fact``); `subject` is the field that holds the aggregate's id."""
    family, _, fact = name.partition(".")
    if not family or not fact or name != name.lower():
        raise ValueError(f"an event is named family.fact_in_the_past_tense, not {name!r}")

    def decorate(cls: type[T]) -> type[T]:
        made = value(cls)
        if subject and subject not in {field.name for field in attrs.fields(cast("type[attrs.AttrsInstance]", made))}:
            raise ValueError(f"{cls.__name__} has no field {subject!r} to be its subject")
        setattr(made, _EVENT, EventType(name, version, subject, heard, made))
        return made

    return decorate


def is_event(cls: type) -> bool:
    """Whether `cls` was made by `@event`."""
    return _EVENT in vars(cls)


def event_type(cls: type) -> EventType:
    """What is known of the event class `cls`; raises TypeError for a class without `@event`."""
    found = cls.__dict__.get(_EVENT)
    if not isinstance(found, EventType):
        raise TypeError(f"{cls.__name__} is no event: decorate it with @event('family.fact', subject=...)")
    return found


@attrs.frozen(kw_only=True)
class Envelope:
    """One published event with all that travels beside it: the attributes of CloudEvents 1.0.2 and its extensions.

    `data` is the event as JSON text. `sequence` counts the events of one aggregate from 1 without gaps.
    `correlation_id` is shared by the whole chain; `causation_id` is the id of what led here, empty at its beginning.
    `started` is the traceparent in which the event was published and never changes; the hop's own is the transport's.
    `originator` names who set off the chain. `heard` asks the bus to refuse the event if no queue takes it.
    """

    id: UUID
    name: str
    version: int
    source: str
    subject: str
    sequence: int
    time: datetime
    data: str
    correlation_id: str
    causation_id: str
    started: str
    tracestate: str
    originator: str
    heard: bool

    @property
    def type(self) -> str:
        """``orion.user.registered.v1``."""
        return f"orion.{self.name}.v{self.version}"

    @property
    def dataschema(self) -> str:
        """``urn:orion:event:user.registered:v1``."""
        return f"urn:orion:event:{self.name}:v{self.version}"

    @property
    def family(self) -> str:
        """The first word of the name."""
        return self.name.partition(".")[0]

    @property
    def service(self) -> str:
        """The publishing service."""
        return self.source.rpartition("/")[2]


@attrs.frozen
class Listener:
    """One listening method of a service.

    `queue` is the consumer's name on the wire, ``<service>.<method>``. `events` are the classes it understands, none
    for one that hears everything. A `broadcast` listener runs once in every process, without inbox and retries, and
    may only refresh what it keeps in memory.
    """

    queue: str
    method: str
    events: tuple[type, ...]
    broadcast: bool
    concurrency: int

    @property
    def names(self) -> tuple[str, ...]:
        """The wire names it is bound to; none for everything."""
        return tuple(dict.fromkeys(event_type(cls).name for cls in self.events))


def on(*events: type, broadcast: bool = False, concurrency: int = 10) -> Callable[[Method], Method]:
    """Mark a service method as the listener of `events`; at most `concurrency` of them run at once in a process."""
    for cls in events:
        event_type(cls)
    if not events:
        raise TypeError("@on needs at least one event class; use @on_all() to hear everything")
    return _listens(events, broadcast, concurrency)


def on_all(*, broadcast: bool = False, concurrency: int = 10) -> Callable[[Method], Method]:
    """Mark a service method as a listener of every event of the platform; it is given the `Envelope`."""
    return _listens((), broadcast, concurrency)


def _listens(events: tuple[type, ...], broadcast: bool, concurrency: int) -> Callable[[Method], Method]:
    def decorate(method: Method) -> Method:
        must_be_async(method, "a listener")
        setattr(method, _LISTENS, (events, broadcast, concurrency))
        return method

    return decorate


def listeners(service: type, name: str) -> tuple[Listener, ...]:
    """All listeners of the class `service`, which is served under `name`."""
    found = []
    for attribute, method in inspect.getmembers(service, inspect.isfunction):
        if marks := getattr(method, _LISTENS, None):
            found.append(Listener(f"{name}.{attribute}", attribute, *marks))
    return tuple(found)


class Events(Protocol):
    """What a service publishes with; a need of the type `Events` is filled per service."""

    async def publish(self, *events: Any) -> Sequence[UUID]:
        """Write `events` to the outbox of the running transaction and return their ids.

        They leave after the commit, at least once, and never if the transaction rolls back. Each carries its number
        among the events of its aggregate, since they may arrive in another order. Raises RuntimeError outside a
        transaction and TypeError for an event of another owner.
        """
        ...
