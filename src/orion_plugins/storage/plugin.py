"""The service `storage` described as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orion_core.plugin import Plugin, hookimpl
from orion_plugins.storage.rights import MANAGE, READ
from orion_plugins.storage.routes import BucketRoutes, ObjectRoutes, StorageRoutes
from orion_plugins.storage.service import StorageService
from orion_plugins.storage.settings import StorageSettings
from orion_plugins.storage.tables import (
    StorageBucket,
    StorageErased,
    StorageGrant,
    StorageObject,
    StoragePicture,
    StoragePictureSize,
    StorageRead,
    StorageUpload,
)

if TYPE_CHECKING:
    import typer


@hookimpl
def orion_plugin() -> Plugin:
    """Files."""
    return Plugin(
        "storage",
        service=StorageService,
        routes=[BucketRoutes, ObjectRoutes, StorageRoutes],
        tables=[
            StorageBucket,
            StorageGrant,
            StorageObject,
            StorageUpload,
            StoragePicture,
            StoragePictureSize,
            StorageRead,
            StorageErased,
        ],
        migrations="orion_plugins.storage.migrations",
        settings=StorageSettings,
        permissions=[READ, MANAGE],
        port=3007,
    )


@hookimpl
def orion_commands(cli: typer.Typer) -> None:
    """``orion storage ...``."""
    # Imported late: a host loads this module and has no use for the command line's libraries.
    from orion_plugins.storage.commands import storage

    cli.add_typer(storage, name="storage")
