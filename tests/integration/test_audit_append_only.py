"""The audit log in PostgreSQL: rows are added, and whoever has the application's own access can do nothing else."""

import psycopg
import pytest

ADD = """INSERT INTO tenants_auditentry (at, "by", action, target, reason)
    VALUES (now(), %s, 'tenant.suspend', 'acme', '')"""


@pytest.fixture
def log(database_url: str) -> psycopg.Connection:
    """A connection as the application has it, to a log of one line."""
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute(ADD, ["olga"])
    return connection


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tenants_auditentry SET \"by\" = 'nobody'",
        "DELETE FROM tenants_auditentry",
        "INSERT INTO tenants_auditentry SELECT * FROM tenants_auditentry ON CONFLICT (id) DO UPDATE SET reason = 'x'",
    ],
)
def test_a_line_is_neither_changed_nor_deleted_by_sql(log: psycopg.Connection, statement: str) -> None:
    with log, pytest.raises(psycopg.errors.RaiseException, match="the audit log is append-only"):
        log.execute(statement)


def test_lines_are_added(log: psycopg.Connection) -> None:
    with log:
        log.execute(ADD, ["boris"])

        people = log.execute('SELECT "by" FROM tenants_auditentry ORDER BY id').fetchall()

    assert people == [("olga",), ("boris",)]


def test_what_is_asked_of_a_long_log_is_found_by_an_index(log: psycopg.Connection) -> None:
    people = """INSERT INTO tenants_auditentry (at, "by", action, target, reason)
        SELECT now() - n * interval '1 minute', 'person-' || n % 100, 'action-' || n % 30, 'tenant-' || n % 5000, ''
        FROM generate_series(1, 50000) AS n"""
    log.execute(people)
    log.execute("ANALYZE tenants_auditentry")

    with log:
        for condition in (
            "\"by\" = 'person-3'",
            "action = 'action-7'",
            "target = 'tenant-40'",
            "at > now() - interval '1 hour'",
        ):
            asked = f"EXPLAIN SELECT * FROM tenants_auditentry WHERE {condition} ORDER BY id DESC LIMIT 50"  # noqa: S608
            plan = "\n".join(line for (line,) in log.execute(asked))

            assert "Seq Scan" not in plan, plan
