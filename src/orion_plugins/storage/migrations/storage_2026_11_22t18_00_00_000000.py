from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T18:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "one object per key, in the byte order of keys; one file per size of a picture"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="storage", description=DESCRIPTION)
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX storage_objects_place ON storage_objects (bucket_id, key)",
            "CREATE INDEX storage_objects_age ON storage_objects (bucket_id, modified_at)",
            "CREATE UNIQUE INDEX storage_picture_sizes_side ON storage_picture_sizes (picture_id, side)",
        )
    )
    manager.add_raw_backwards(
        statements(
            "DROP INDEX storage_objects_place",
            "DROP INDEX storage_objects_age",
            "DROP INDEX storage_picture_sizes_side",
        )
    )
    return manager
