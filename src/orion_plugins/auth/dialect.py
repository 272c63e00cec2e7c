"""What differs between SQLite and PostgreSQL here: triggers that keep the audit log append-only."""

from __future__ import annotations

_REFUSED = "the audit log is append-only"

SQLITE_UP = (
    (
        "CREATE TRIGGER auth_audit_no_update BEFORE UPDATE ON auth_audit_logs "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    ),
    (
        "CREATE TRIGGER auth_audit_no_delete BEFORE DELETE ON auth_audit_logs "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    ),
    # INSERT OR REPLACE deletes without firing the trigger above.
    (
        "CREATE TRIGGER auth_audit_no_replace BEFORE INSERT ON auth_audit_logs "
        "WHEN EXISTS (SELECT 1 FROM auth_audit_logs WHERE seq = NEW.seq OR id = NEW.id) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    ),
    (
        "CREATE TRIGGER auth_audit_head_no_delete BEFORE DELETE ON auth_audit_head "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    ),
)
SQLITE_DOWN = tuple(
    f"DROP TRIGGER auth_audit_{name}" for name in ("no_update", "no_delete", "no_replace", "head_no_delete")
)
POSTGRES_UP = (
    (
        "CREATE FUNCTION auth_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'restrict_violation'; END $$"
    ),
    (
        "CREATE TRIGGER auth_audit_no_change BEFORE UPDATE OR DELETE ON auth_audit_logs "
        "FOR EACH ROW EXECUTE FUNCTION auth_audit_refuse()"
    ),
    (
        "CREATE TRIGGER auth_audit_no_truncate BEFORE TRUNCATE ON auth_audit_logs "
        "FOR EACH STATEMENT EXECUTE FUNCTION auth_audit_refuse()"
    ),
    (
        "CREATE TRIGGER auth_audit_head_no_delete BEFORE DELETE ON auth_audit_head "
        "FOR EACH ROW EXECUTE FUNCTION auth_audit_refuse()"
    ),
    (
        "CREATE TRIGGER auth_audit_head_no_truncate BEFORE TRUNCATE ON auth_audit_head "
        "FOR EACH STATEMENT EXECUTE FUNCTION auth_audit_refuse()"
    ),
)
POSTGRES_DOWN = (
    "DROP TRIGGER auth_audit_no_change ON auth_audit_logs",
    "DROP TRIGGER auth_audit_no_truncate ON auth_audit_logs",
    "DROP TRIGGER auth_audit_head_no_delete ON auth_audit_head",
    "DROP TRIGGER auth_audit_head_no_truncate ON auth_audit_head",
    "DROP FUNCTION auth_audit_refuse()",
)
