"""Documents of an index: how what events say becomes one document, and what is stored of it. Pure functions.

A state remembers, for each type of event, what it last said of the document and at which version (the event's number in
the sequence of its aggregate), and the version at which each service removed it. Nothing depends on the order in which
news arrive: the newest of each type counts, a removal takes what its service said before, and the document is what all
that is left says together. Services overlay each other in the order of the declaration, one service's events in the
order of their versions.

A rebuild adds a base: what the owner of the index says now. It replaces what was heard in earlier rounds (generations),
and what is heard from then on lies over it. Versions are remembered for good, so that an old event that is
delivered late changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import attrs

from orion_core.filters import MAX_WHOLE, fold
from orion_core.plugin import Searchable
from orion_plugins.search.words import clean, tokens

MAX_ID = 256
MAX_DEPTH = 50
MAX_WORDS = 10_000
MAX_BYTES = 400_000
"""What of a document's text is indexed at most; a full-text value of PostgreSQL ends at a million bytes."""
MAX_VALUE = 500
"""Characters of a filterable text that count; an entry of an index of PostgreSQL ends at 2,700 bytes."""
FULL, OPEN = "f", "o"
_TYPES: Mapping[str, type] = {kind.__name__: kind for kind in (str, int, float, bool, datetime, date, UUID)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen
class Layout:
    """What of a declaration decides how documents are stored; a generation keeps the one it was built by."""

    text: tuple[tuple[str, float], ...]
    filterable: tuple[tuple[str, str], ...]
    owner: str
    open_to_all: tuple[str, ...]

    @classmethod
    def of(cls, declared: Searchable) -> Layout:
        """That of `declared`; raises ValueError for a filterable field of a type that cannot be compared."""
        for name, kind in declared.filterable.items():
            if kind not in _TYPES.values():
                raise ValueError(f"the index {declared.index} filters {name} as {kind}: use {', '.join(_TYPES)}")
        return cls(
            tuple((name, float(weight)) for name, weight in declared.text.items()),
            tuple((name, kind.__name__) for name, kind in declared.filterable.items()),
            declared.owner,
            tuple(declared.open_to_all),
        )

    @classmethod
    def loads(cls, text: str) -> Layout:
        """The opposite of `dumps`."""
        found = json.loads(text)
        return cls(
            tuple((name, weight) for name, weight in found["text"]),
            tuple((name, kind) for name, kind in found["filterable"]),
            found["owner"],
            tuple(found["open_to_all"]),
        )

    def dumps(self) -> str:
        """As JSON text, always the same for the same layout."""
        return json.dumps(attrs.asdict(self), separators=(",", ":"))

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of the text fields in order."""
        return tuple(weight for _, weight in self.text)

    @property
    def types(self) -> dict[str, type]:
        """The filterable fields with their types."""
        return {name: _TYPES[kind] for name, kind in self.filterable}


@attrs.frozen
class Form:
    """A document as some may see it, ready to be stored. `values` are (field, text, number)."""

    owner: str
    fields: str
    words: str
    length: int
    values: tuple[tuple[str, str | None, float | None], ...]


@attrs.define
class State:
    """What is known of one document; see the module. `parts` are {event: [service, version, round, fields or null]},
    `gone` {service: version}, `base` [round, fields]."""

    parts: dict[str, list[Any]] = attrs.field(factory=dict)
    gone: dict[str, int] = attrs.field(factory=dict)
    base: list[Any] | None = None

    @classmethod
    def loads(cls, text: str) -> State:
        """From what is stored; empty text is a document nobody has heard of."""
        return cls(**json.loads(text)) if text else cls()

    def dumps(self) -> str:
        """As JSON text."""
        return json.dumps(attrs.asdict(self), ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    def hear(self, event: str, service: str, version: int, generation: int, fields: dict[str, Any]) -> bool:
        """`service` said `fields` by `event`; False when that is no news."""
        known = self.parts.get(event)
        if known is not None and known[1] >= version:
            return False
        late = version < self.gone.get(service, 0)
        self.parts[event] = [service, version, generation, None if late else fields]
        return True

    def remove(self, service: str, version: int) -> bool:
        """`service` says it is gone; False when that is no news."""
        if self.gone.get(service, 0) >= version:
            return False
        self.gone[service] = version
        self.base = None
        for part in self.parts.values():
            if part[0] == service and part[1] < version:
                part[3] = None
        return True

    def rebase(self, generation: int, fields: dict[str, Any] | None) -> None:
        """The owner says `fields` in the round `generation`; None: it knows no such document."""
        for part in self.parts.values():
            if part[2] < generation:
                part[3] = None
        self.base = None if fields is None or self.is_gone else [generation, fields]

    def forget(self) -> None:
        """Keep versions only."""
        self.base = None
        for part in self.parts.values():
            part[3] = None

    @property
    def is_gone(self) -> bool:
        """Whether a service removed it and said nothing of it since."""
        return any(
            version > max((part[1] for part in self.parts.values() if part[0] == service), default=0)
            for service, version in self.gone.items()
        )

    def merged(self, order: Mapping[str, int]) -> dict[str, Any] | None:
        """All that is said of the document, even if it is gone; None if that is nothing. `order` gives the place of
        each event in the declaration."""
        parts = [(event, *part) for event, part in self.parts.items() if part[3] is not None]
        if not (parts or self.base):
            return None
        services = {
            service: min(order.get(event, -1) for event, other, *_ in parts if other == service)
            for _, service, *_ in parts
        }
        parts.sort(key=lambda part: (services[part[1]], part[1], part[2], part[0]))
        found: dict[str, Any] = dict(self.base[1]) if self.base else {}
        for *_, fields in parts:
            found |= fields
        return found


def read(declared: Searchable, given: Any) -> tuple[str, dict[str, Any]]:
    """The id and the fields of a document as it was given; raises ValueError that says what is wrong with it."""
    if not isinstance(given, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004 - it is the content that is wrong
    doc_id = given.get("id")
    if not isinstance(doc_id, str) or not 1 <= len(doc_id) <= MAX_ID or clean(doc_id) != doc_id:
        raise ValueError(f"id must be text of 1 to {MAX_ID} characters")
    fields: dict[str, Any] = _cleaned({name: item for name, item in given.items() if name != "id"})
    for name in declared.text:
        if not all(isinstance(item, str) for item in _several(fields.get(name))):
            raise ValueError(f"{name} must be text or a list of texts")
    for name, kind in declared.filterable.items():
        for item in _several({**fields, "id": doc_id}.get(name)):
            stored(name, kind, item)
    if declared.owner and not isinstance({**fields, "id": doc_id}.get(declared.owner), str | None):
        raise ValueError(f"{declared.owner} must be text: the id of a person")
    json.dumps(fields, allow_nan=False)
    return doc_id, fields


def forms(layout: Layout, doc_id: str, fields: Mapping[str, Any]) -> dict[str, Form]:
    """The forms of a document."""
    whole = {**fields, "id": doc_id}
    owner = person(whole.get(layout.owner))
    found = {FULL: _form(layout, owner, whole)}
    if layout.open_to_all:
        found[OPEN] = _form(layout, owner, {name: whole[name] for name in layout.open_to_all if name in whole})
    return found


def person(given: Any) -> str:
    """The id of a person, always written alike; empty if that is none."""
    try:
        return str(UUID(given)) if isinstance(given, str) else ""
    except ValueError:
        return clean(given)[:MAX_ID]


def text_of(item: Any) -> str:
    """A text field as it is indexed: the texts of a list on lines of their own."""
    return "\n".join(part for part in _several(item) if isinstance(part, str))


def stored(name: str, kind: type, item: Any) -> tuple[str, str | None, float | None]:
    """A filterable value as a row: (field, text, number); raises ValueError when it is not of the type `kind`."""
    number = isinstance(item, (int, float)) and not isinstance(item, bool)
    try:
        if kind is str and isinstance(item, str):
            return name, comparable(item), None
        if kind is UUID and isinstance(item, str):
            return name, str(UUID(item)), None
        if kind is bool and isinstance(item, bool):
            return name, None, float(item)
        if kind is int and isinstance(item, int) and number and abs(item) <= MAX_WHOLE:
            return name, None, float(item)
        if kind is float and number and abs(item) <= 1e300:
            return name, None, float(item)
        if kind is datetime and isinstance(item, str):
            return name, None, moment(datetime.fromisoformat(item))
        if kind is date and isinstance(item, str):
            return name, None, float(date.fromisoformat(item).toordinal())
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f"{name} must be of the type {kind.__name__}")


def comparable(text: str) -> str:
    """A text as it is stored and compared."""
    return fold(clean(text))[:MAX_VALUE]


def moment(time: datetime) -> float:
    """A time as the number of microseconds, which a float holds exactly until the year 2255."""
    return float((time - _EPOCH) // _EPOCH.resolution)


def _form(layout: Layout, owner: str, fields: Mapping[str, Any]) -> Form:
    parts: list[str] = []
    count = size = 0
    for name, _ in layout.text:
        for token in tokens(text_of(fields.get(name))):
            size += len(token.word.encode()) + 1
            if count >= MAX_WORDS or size > MAX_BYTES:
                break
            parts.append(token.word)
            count += 1
        parts.append("|")
    values = [stored(name, kind, item) for name, kind in layout.types.items() for item in _several(fields.get(name))]
    shown = {name: item for name, item in fields.items() if name != "id"}
    return Form(
        owner=owner,
        fields=json.dumps(shown, ensure_ascii=False, separators=(",", ":")),
        words=" " + "".join(f"{part} " for part in parts),
        length=count,
        values=tuple(dict.fromkeys(values)),
    )


def _several(item: Any) -> list[Any]:
    return [] if item is None else list(item) if isinstance(item, (list, tuple)) else [item]


def _cleaned(item: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"must have at most {MAX_DEPTH} levels")
    if isinstance(item, str):
        return clean(item)
    if isinstance(item, Mapping):
        return {clean(str(name)): _cleaned(part, depth + 1) for name, part in item.items()}
    if isinstance(item, (list, tuple)):
        return [_cleaned(part, depth + 1) for part in item]
    return item
