"""PostgreSQL's schema that has the tables, in which nobody but their owner may create anything.

PostgreSQL looks for operators and functions in the schemas of the `search_path`. If others may create things in one of
them, as everybody may in `public` up to PostgreSQL 14, they can run code of their own with the rights of the server:
their `=` need only fit the types of the operands better than PostgreSQL's own. The `search_path` of all our connections
is therefore OPTION.
"""

from typing import Final

from sqlalchemy import Connection, Engine

SCHEMA: Final = "chatserver"
"""The schema that has the tables."""

OPTION: Final = f"-c search_path={SCHEMA}"
"""For libpq's `options`. PostgreSQL looks into `pg_catalog` first, in any case."""

# No GRANT to others: who has rights on the tables also needs USAGE on the schema.
_CREATE: Final = f"""
DO $$
BEGIN
    IF NOT has_database_privilege(current_database(), 'CREATE') THEN
        RAISE EXCEPTION 'the role % may not create the schema {SCHEMA}. As the owner of the database: '
            'GRANT CREATE ON DATABASE % TO %', current_user, quote_ident(current_database()),
            quote_ident(current_user) USING ERRCODE = 'insufficient_privilege';
    END IF;
    CREATE SCHEMA {SCHEMA};
END $$
"""
_KNOWN: Final = f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL, to_regclass('{SCHEMA}.alembic_version') IS NOT NULL"
# Not what somebody else may have put there: its owner is the present role, or the owner of the database.
_EARLIER: Final = f"""
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_database AS d ON d.datname = current_database()
WHERE c.relname = 'alembic_version' AND n.nspname <> '{SCHEMA}'
  AND (pg_get_userbyid(c.relowner) = current_user OR (c.relowner = d.datdba AND pg_has_role(d.datdba, 'USAGE')))
  AND EXISTS (
    SELECT FROM pg_class AS e WHERE e.relnamespace = n.oid AND e.relname = 'entry' AND e.relowner = c.relowner
  )
ORDER BY n.nspname <> current_user, n.nspname <> 'public', n.nspname LIMIT 1
"""
_MOVE: Final = f"""
SELECT format('ALTER TABLE %%s SET SCHEMA {SCHEMA}', c.oid::regclass) FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind = 'r' AND c.relname = ANY (%s)
UNION ALL
SELECT DISTINCT format('GRANT USAGE ON SCHEMA {SCHEMA} TO %%I', pg_get_userbyid(g.grantee))
FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS g
WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relname = ANY (%s) AND g.grantee NOT IN (0, c.relowner)
"""
_CREATORS: Final = f"""
SELECT n.nspname, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
FROM pg_namespace AS n CROSS JOIN aclexplode(n.nspacl) AS g
WHERE g.privilege_type = 'CREATE' AND g.grantee <> n.nspowner
  AND (n.nspname = '{SCHEMA}' OR (n.nspname = 'public' AND g.grantee = 0))
ORDER BY n.nspname, g.grantee
"""
_REMAINS: Final = f"""
SELECT count(*) FROM pg_stats AS s
JOIN pg_attribute AS a
ON a.attrelid = to_regclass(format('%%I.%%I', s.schemaname, s.tablename)) AND a.attname = s.attname
WHERE s.schemaname = '{SCHEMA}' AND a.attstattarget = 0
"""
_REMOVE: Final = (
    "DELETE FROM pg_statistic USING pg_attribute WHERE attrelid = starelid AND attnum = staattnum AND attstattarget = 0"
)


def earlier(db: Connection) -> str | None:
    """The schema in which an earlier version has created the tables; None if they are in SCHEMA, or nowhere."""
    if db.dialect.name != "postgresql" or db.exec_driver_sql(_KNOWN).one()[1]:
        return None
    place: str | None = db.exec_driver_sql(_EARLIER).scalar()
    return place


def ensure(db: Connection, tables: list[str]) -> None:
    """Creates the schema unless it exists, and moves these tables there from where an earlier version has created
    them."""
    if db.dialect.name != "postgresql":
        return
    exists, filled = db.exec_driver_sql(_KNOWN).one()
    if not exists:
        db.exec_driver_sql(_CREATE.replace("%", "%%"))
    if not filled and (place := earlier(db)) is not None:
        for (statement,) in db.exec_driver_sql(_MOVE, (place, tables, place, tables)).all():
            db.exec_driver_sql(statement)


def warnings(engine: Engine) -> list[str]:
    """A warning for each right to create things where statements of a server, or of other applications, would run
    them, and for statistics from before they were turned off."""
    if engine.dialect.name != "postgresql":
        return []
    with engine.connect() as db:
        found = [_warning(schema, role) for schema, role in db.exec_driver_sql(_CREATORS)]
        if db.exec_driver_sql(_REMAINS).scalar():
            found.append(
                "PostgreSQL still has statistics about what people wrote, from before an upgrade; erasing does not "
                f"reach them. As a superuser, in this database: {_REMOVE}"
            )
        return found


def _warning(schema: str, role: str) -> str:
    revoke = f"As the owner of the schema: REVOKE CREATE ON SCHEMA {schema} FROM {role}"
    if schema == SCHEMA:
        return f"{role} may create functions in the schema {SCHEMA}, which the server would run. {revoke}"
    return (
        "Everybody may create functions in the schema public, where other applications that use this database, and "
        f"psql, would run them. {revoke}"
    )
