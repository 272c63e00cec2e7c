"""Settings of storage: ``ORION_STORAGE_*``."""

from __future__ import annotations

import attrs


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@attrs.frozen(kw_only=True)
class StorageSettings:
    """How much is taken."""

    max_object_size: int = attrs.field(
        default=5 * 1024**3,
        validator=attrs.validators.ge(1),
        metadata=_help("bytes of the largest object that any bucket may allow"),
    )
    buckets_per_person: int = attrs.field(
        default=10,
        validator=attrs.validators.ge(0),
        metadata=_help("buckets one person may own; storage:manage has no limit"),
    )
    picture_workers: int = attrs.field(
        default=2, validator=attrs.validators.ge(1), metadata=_help("pictures worked on at once")
    )
    picture_queue: int = attrs.field(
        default=32,
        validator=attrs.validators.ge(0),
        metadata=_help("pictures that may wait; more are answered with 503"),
    )
