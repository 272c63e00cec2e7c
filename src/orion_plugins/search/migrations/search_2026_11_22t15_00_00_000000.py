from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements
from orion_plugins.search.dialect import POSTGRES_DOWN, POSTGRES_UP, SQLITE_DOWN, SQLITE_UP

ID = "2026-11-22T15:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "the full text of both databases; what must be unique, and what is looked up"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="search", description=DESCRIPTION)
    manager.add_raw(statements(*SQLITE_UP, dialect="sqlite"))
    manager.add_raw(statements(*POSTGRES_UP, dialect="postgresql"))
    manager.add_raw(
        statements(
            "CREATE UNIQUE INDEX search_sources_once ON search_sources (index_name, doc_id)",
            "CREATE UNIQUE INDEX search_documents_once ON search_documents (scope, doc_id)",
            "CREATE INDEX search_documents_owner ON search_documents (owner, scope)",
            "CREATE INDEX search_values_text ON search_values (scope, field, text)",
            "CREATE INDEX search_values_number ON search_values (scope, field, number)",
            "CREATE UNIQUE INDEX search_words_once ON search_words (scope, kind, word)",
            "CREATE INDEX search_words_stem ON search_words (scope, kind, stem)",
        )
    )
    manager.add_raw_backwards(statements(*SQLITE_DOWN, dialect="sqlite"))
    manager.add_raw_backwards(statements(*POSTGRES_DOWN, dialect="postgresql"))
    manager.add_raw_backwards(
        statements(
            "DROP INDEX search_sources_once",
            "DROP INDEX search_documents_once",
            "DROP INDEX search_documents_owner",
            "DROP INDEX search_values_text",
            "DROP INDEX search_values_number",
            "DROP INDEX search_words_once",
            "DROP INDEX search_words_stem",
        )
    )
    return manager
