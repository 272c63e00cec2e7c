from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from orion_core.migrations.piccolo import statements

ID = "2026-11-22T13:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "what occurs once, and what is looked for by several columns"

UNIQUE = {
    "analytics_events_once": "analytics_events (origin, message_id)",
    "analytics_counts_once": "analytics_counts (name, property, hour_ms, value, generation)",
    "analytics_people_once": "analytics_people (name, property, hour_ms, value, person, generation)",
    "analytics_properties_once": "analytics_properties (name, property)",
    "analytics_sources_once": "analytics_sources (source, status, code)",
    "analytics_requests_once": "analytics_requests (service, route, method, quarter_ms)",
}
PLAIN = {
    "analytics_events_by_name": "analytics_events (name, at_ms)",
    "analytics_events_by_time": "analytics_events (at_ms, id)",
    "analytics_events_by_person": "analytics_events (person) WHERE person <> ''",
    "analytics_events_by_visitor": "analytics_events (anonymous_id) WHERE anonymous_id <> ''",
    "analytics_people_of_names": "analytics_people (hour_ms, generation, name, person) WHERE property = ''",
    "analytics_hours_building": "analytics_hours (building) WHERE building IS NOT NULL",
}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="analytics", description=DESCRIPTION)
    manager.add_raw(statements(*(f"CREATE UNIQUE INDEX {name} ON {what}" for name, what in UNIQUE.items())))
    manager.add_raw(statements(*(f"CREATE INDEX {name} ON {what}" for name, what in PLAIN.items())))
    manager.add_raw_backwards(statements(*(f"DROP INDEX {name}" for name in (*UNIQUE, *PLAIN))))
    return manager
