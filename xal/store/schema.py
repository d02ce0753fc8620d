"""The tables of the ledger. Triggers in the database keep labels and corrections append-only."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, String, Table, Text, event

SCHEMA_VERSION = 7
TABLES = MetaData()
RUN_METADATA = Table(
    "metadata", TABLES, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
STEPS = Table(
    "steps",
    TABLES,
    Column("round", Integer, primary_key=True),
    Column("step", String(16), primary_key=True),
    Column("number", Integer, nullable=False, server_default="0"),  # order of commit; clocks jump
    Column("seconds", Float, nullable=False),
    Column("finished", Float, nullable=False),  # seconds since 1970
    Column("artefact", Text),  # relative to the run directory
    Column("metrics", Text, nullable=False),  # JSON
)
QUERIES = Table(
    "queries",
    TABLES,
    Column("id", Text, primary_key=True),  # an item is queried once
    Column("round", Integer, nullable=False, index=True),
    Column("rank", Integer, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
    Column("reason", Text, nullable=False),  # the strategy that chose it
    Column("prediction", Text),
    Column("confidence", Float),
    Column("because", Text, nullable=False, server_default=""),  # why, in words
)
LABELS = Table(
    "labels",
    TABLES,
    Column("id", Text, sa.ForeignKey("queries.id"), primary_key=True),
    Column("label", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("at", Float, nullable=False),  # seconds since 1970
)
REVISIONS = Table(  # later answers for an item: the last one counts, the earlier ones are kept
    "revisions",
    TABLES,
    Column("number", Integer, primary_key=True),
    Column("id", Text, sa.ForeignKey("queries.id"), nullable=False, index=True),
    Column("answer", String(16), nullable=False),  # label, or why there is none: skip, unsure, none
    Column("label", Text),
    Column("annotator", Text, nullable=False),
    Column("at", Float, nullable=False),  # seconds since 1970
)
CORRECTIONS = Table(
    "corrections",
    TABLES,
    Column("id", Text, sa.ForeignKey("labels.id"), primary_key=True),
    Column("wrong", Text, nullable=False),  # JSON lists of components
    Column("missed", Text, nullable=False),
    Column("against", Text, nullable=False),
    Column("shown", Text),  # artefact with the explanation that was shown, relative to the run; NULL: none was shown
    Column("annotator", Text, nullable=False),
    Column("at", Float, nullable=False),  # seconds since 1970
)
UNREADABLE = Table(
    "unreadable",
    TABLES,
    Column("id", Text, primary_key=True),
    Column("round", Integer),
    Column("reason", Text, nullable=False, server_default="cannot be read"),
)


def _protected(table: str, key: str) -> dict[str, list[str]]:
    """Statements that make a table append-only, by dialect. key: its primary key."""
    return {
        "sqlite": [
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
            for change in ("UPDATE", "DELETE")
        ]
        + [  # INSERT OR REPLACE deletes without a trigger
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_replacement BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key}) "
            f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        ],
        "postgresql": [
            f"CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN RAISE EXCEPTION ''{table} are append-only''; END'",
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"EXECUTE FUNCTION {table}_append_only()",
        ],
    }


PROTECTED = {LABELS: "id", CORRECTIONS: "id", REVISIONS: "number"}
for _table, _key in PROTECTED.items():
    for _dialect, _statements in _protected(_table.name, _key).items():
        for _statement in _statements:
            event.listen(_table, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]
MIGRATIONS = {  # statements from each version to the next
    1: [
        "ALTER TABLE steps ADD COLUMN number INTEGER NOT NULL DEFAULT 0",
        "UPDATE steps SET number = (SELECT count(*) FROM steps AS other WHERE other.finished < steps.finished "
        "OR (other.finished = steps.finished AND other.round < steps.round)) + 1",
        "ALTER TABLE unreadable ADD COLUMN why TEXT NOT NULL DEFAULT 'cannot be read'",
    ],
    2: [],  # `create_all` adds the table of corrections
    3: [],  # `protect` adds triggers against replacement
    4: [  # names of version 0.2
        "ALTER TABLE facts RENAME TO metadata",
        "ALTER TABLE steps RENAME COLUMN figures TO metrics",
        "ALTER TABLE queries RENAME COLUMN why TO reason",
        "ALTER TABLE unreadable RENAME COLUMN why TO reason",
    ],
    5: [],  # `create_all` adds the table of revisions
    6: ["ALTER TABLE queries ADD COLUMN because TEXT NOT NULL DEFAULT ''"],
}


def protect(connection: sa.Connection) -> None:
    """Add missing append-only triggers to a SQLite database of an older schema."""
    if connection.dialect.name == "sqlite":
        for table, key in PROTECTED.items():
            for statement in _protected(table.name, key)["sqlite"]:
                connection.execute(sa.text(statement))
