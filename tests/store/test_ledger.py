"""The ledger: all of a step or none of it, and labels that the database itself protects."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from xal.errors import LabelError, RunError
from xal.store.ledger import Ledger, Queried
from xal.store.schema import MIGRATIONS, SCHEMA_VERSION
from xal.types import Correction


@pytest.fixture
def opened(tmp_path, database, request):
    """Opens the same ledger each time it is called, in SQLite and in PostgreSQL."""
    made = []

    def again():
        if database == "sqlite":
            made.append(Ledger.at(tmp_path))
        else:
            url = request.getfixturevalue("postgres").replace("postgresql:", "postgresql+psycopg:")
            made.append(Ledger(url, f"test_{tmp_path.name}".lower().replace("-", "_")))
        return made[-1]

    yield again
    for each in made:
        each.close()


@pytest.fixture
def ledger(opened):
    return opened()


def queried(*names, round=0):
    return [
        Queried(id=name, round=round, rank=rank, row=rank + 10, score=1 / (rank + 1), reason="entropy")
        for rank, name in enumerate(names)
    ]


def commit(ledger, round=0, step="query", **what):
    ledger.commit(round, step, seconds=1.5, metrics=what.pop("metrics", {}), **what)


def contents(ledger):
    """Every row of every table, read past the ledger."""
    with ledger._engine.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        return {table: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {table}"))) for table in tables}


def test_a_step_comes_back_as_it_was_committed(ledger, opened):
    items = [
        Queried(id="a", round=2, rank=0, row=7, score=0.1, reason="entropy", prediction="cat", confidence=0.25),
        Queried(id="b", round=2, rank=1, row=3, score=-1e-300, reason="random"),
    ]
    metrics = {"accuracy": 0.1 + 0.2, "items": 3, "names": ["x", "y"], "none": None}
    commit(
        ledger,
        2,
        artefact="round-002/query",
        queried=items,
        metrics=metrics,
        unreadable={"z": "no image", "y": "MemoryError: 3"},
    )
    ledger.close()
    again = opened()
    (step,) = again.steps()
    assert (step.round, step.step, step.seconds, step.artefact) == (2, "query", 1.5, "round-002/query")
    assert step.metrics == metrics
    assert again.queried() == items
    assert again.unreadable() == {"y": "MemoryError: 3", "z": "no image"}
    again.close()


def test_queried_items_come_by_round_and_rank(ledger):
    commit(ledger, 1, queried=queried("d", "c", round=1))
    commit(ledger, 0, queried=queried("b", "a")[::-1])
    assert [item.id for item in ledger.queried()] == ["b", "a", "d", "c"]
    assert [item.id for item in ledger.queried(1)] == ["d", "c"]
    assert ledger.queried(5) == []


def test_steps_come_in_order_of_commit(ledger):
    for round, step in [(0, "query"), (0, "label"), (0, "train"), (1, "query")]:
        commit(ledger, round, step)
    assert [(step.round, step.step) for step in ledger.steps()] == [
        (0, "query"),
        (0, "label"),
        (0, "train"),
        (1, "query"),
    ]


FAILING = {
    "an id of an earlier round": {"queried": queried("new", "a", round=1)},
    "an id twice": {"queried": queried("new", "new", round=1)},
    "a label for what was not queried": {"queried": queried("new", round=1), "labels": {"new": "cat", "x": "cat"}},
    "a second label": {"queried": queried("new", round=1), "labels": {"new": "cat", "b": "dog"}},
}


@pytest.mark.parametrize("what", FAILING.values(), ids=FAILING)
def test_a_failing_commit_leaves_nothing(ledger, what):
    commit(ledger, queried=queried("a", "b"), labels={"b": "cat"}, annotator="oracle")
    before = contents(ledger)
    with pytest.raises(sa.exc.IntegrityError):
        commit(ledger, 1, unreadable={"broken": "no image"}, **what)
    assert contents(ledger) == before


def test_metrics_that_json_cannot_hold_leave_nothing(ledger):
    before = contents(ledger)
    with pytest.raises(TypeError):
        commit(ledger, queried=queried("a"), metrics={"bad": object()})
    assert contents(ledger) == before


def test_a_step_is_committed_once(ledger):
    commit(ledger, queried=queried("a"))
    before = contents(ledger)
    with pytest.raises(sa.exc.IntegrityError):
        commit(ledger, queried=queried("b"))
    assert contents(ledger) == before


def test_an_interrupt_within_a_commit_leaves_nothing(ledger):
    def items():
        yield from queried("a")
        raise KeyboardInterrupt

    before = contents(ledger)
    with pytest.raises(KeyboardInterrupt):
        commit(ledger, queried=items())
    assert contents(ledger) == before


def test_metadata_is_written_or_replaced(ledger):
    assert ledger.metadata("classes") is None
    ledger.set_metadata("classes", "[a]")
    ledger.set_metadata("pool", "abc")
    ledger.set_metadata("classes", "[a, b]")
    assert (ledger.metadata("classes"), ledger.metadata("pool")) == ("[a, b]", "abc")


def test_an_unreadable_item_is_counted_in_its_first_round(ledger):
    commit(ledger, 0, unreadable={"b": "no image"})
    commit(ledger, 1, unreadable={"b": "other", "a": "no image"})
    assert ledger.unreadable() == {"a": "no image", "b": "no image"}
    assert contents(ledger)["unreadable"] == ["('a', 1, 'no image')", "('b', 0, 'no image')"]


BACK_TO_3 = (
    "UPDATE metadata SET value = '3' WHERE name = 'schema'",
    "ALTER TABLE metadata RENAME TO facts",
    "ALTER TABLE steps RENAME COLUMN metrics TO figures",
    "ALTER TABLE queries RENAME COLUMN reason TO why",
    "ALTER TABLE queries DROP COLUMN because",
    "ALTER TABLE unreadable RENAME COLUMN reason TO why",
)


class TestLabels:
    @pytest.fixture(autouse=True)
    def batch(self, ledger):
        commit(ledger, queried=queried("a", "b", "c"))

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE labels SET label = 'dog'",
            "UPDATE labels SET annotator = 'me' WHERE id = 'a'",
            "DELETE FROM labels",
            "INSERT INTO labels VALUES ('a', 'dog', 'me', 0) ON CONFLICT (id) DO UPDATE SET label = 'dog'",
        ],
    )
    def test_the_database_refuses_to_change_one(self, ledger, statement):
        ledger.add_labels({"a": "cat"}, "anna")
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._engine.begin() as connection:
            connection.exec_driver_sql(statement)
        assert {item.id: item.label for item in ledger.queried()} == {"a": "cat", "b": None, "c": None}

    @pytest.mark.parametrize("older", [False, True])
    def test_sqlite_refuses_to_replace_one(self, ledger, opened, older):
        ledger.add_labels({"a": "cat"}, "anna")
        if ledger._engine.dialect.name != "sqlite":
            return  # it has no such statement
        if older:  # schema 3 had no such trigger
            with ledger._engine.begin() as connection:
                for table in ("labels", "corrections"):
                    connection.exec_driver_sql(f"DROP TRIGGER {table}_no_replacement")
                for statement in BACK_TO_3:
                    connection.exec_driver_sql(statement)
            ledger = opened()
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._engine.begin() as connection:
            connection.exec_driver_sql("INSERT OR REPLACE INTO labels VALUES ('a', 'dog', 'me', 0)")
        assert {item.id: item.label for item in ledger.queried()} == {"a": "cat", "b": None, "c": None}

    def test_come_in_parts(self, ledger):
        assert ledger.add_labels({"a": "cat"}, "anna") == 1
        assert ledger.add_labels({"c": "dog", "b": "cat"}, "ben") == 2
        assert [item.label for item in ledger.queried()] == ["cat", "cat", "dog"]
        with ledger._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT id, annotator FROM labels").all()
        assert dict(map(tuple, found)) == {"a": "anna", "b": "ben", "c": "ben"}

    def test_the_same_again_is_no_change(self, ledger):
        ledger.add_labels({"a": "cat", "b": "dog"}, "anna")
        before = contents(ledger)
        assert ledger.add_labels({"a": "cat", "b": "dog"}, "ben") == 0
        assert contents(ledger) == before
        assert ledger.add_labels({"a": "cat", "c": "dog"}, "ben") == 1

    def test_every_problem_is_listed_and_nothing_imported(self, ledger):
        ledger.add_labels({"a": "cat", "b": "dog"}, "anna")
        before = contents(ledger)
        with pytest.raises(LabelError) as caught:
            ledger.add_labels({"c": "cat", "x": "cat", "a": "dog", "y": "dog", "b": "cat"}, "ben")
        lines = str(caught.value).splitlines()
        assert len(lines) == 4
        for item, *words in [("x", "not queried"), ("y", "not queried"), ("a", "cat", "dog"), ("b", "dog", "cat")]:
            (line,) = [line for line in lines if line.startswith(f"'{item}'")]
            assert all(word in line for word in words)
        assert contents(ledger) == before


def test_a_newer_schema_is_refused(ledger, opened):
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE metadata SET value = '{SCHEMA_VERSION + 1}' WHERE name = 'schema'")
    with pytest.raises(RunError, match=f"schema {SCHEMA_VERSION + 1}.*reads {SCHEMA_VERSION}"):
        opened()


def as_version(ledger, version):
    """Turn an empty ledger into one that an xal with an older schema wrote: statements as they were then."""
    drop = ["corrections", "revisions", "labels", "queries", "steps", "unreadable", "metadata"]
    older = Path(__file__).with_name(f"schema-{version}.sql").read_text().split(";")
    with ledger._engine.begin() as connection:
        for table in drop:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        for statement in filter(str.strip, older):
            connection.exec_driver_sql(statement)


def test_an_older_schema_is_brought_up_to_date(ledger, opened):
    new = tables(ledger)
    as_version(ledger, 1)
    again = opened()
    assert tables(again) == new and again.metadata("schema") == str(SCHEMA_VERSION)
    assert [(step.round, step.step, step.number) for step in again.steps()] == [
        (0, "query", 1),
        (0, "label", 2),
        (1, "query", 3),
    ]
    assert again.unreadable() == {"broken": "cannot be read"}
    assert [(item.id, item.label) for item in again.queried()] == [("a", "cat"), ("b", None)]
    commit(again, 1, "label")
    assert [step.number for step in again.steps()] == [1, 2, 3, 4]
    opened()


def test_rows_of_schema_4_are_kept_under_their_new_names(ledger, opened):
    """facts, figures and why became metadata, metrics and reason."""
    new = tables(ledger)
    as_version(ledger, 4)
    before = contents(ledger)
    again = opened()
    assert tables(again) == new and again.metadata("schema") == str(SCHEMA_VERSION)
    after = contents(again)
    assert after.pop("revisions") == []
    assert after.pop("metadata") == ["('pool', 'abc')", f"('schema', '{SCHEMA_VERSION}')"]
    del before["facts"]
    before["queries"] = [f"{row[:-1]}, '')" for row in before["queries"]]  # `because`
    assert after == before  # every row of every other table, value by value
    assert again.metadata("pool") == "abc"
    steps = {(step.round, step.step): step.metrics for step in again.steps()}
    assert steps == {
        (0, "query"): {"chosen": {"random": 1}},
        (0, "label"): {"labels": 1},
        (1, "query"): {"accuracy": 0.75},
    }
    items = [(item.id, item.reason, item.prediction, item.confidence, item.label) for item in again.queried()]
    assert items == [("a", "random", None, None, "cat"), ("b", "margin", "cat", 0.9, "dog")]
    (correction,) = again.corrections().values()
    assert correction.correction == Correction(wrong=(3, 5), against=(1,)) and correction.shown == "round-001/query"
    assert again.unreadable() == {"broken": "cannot be read", "odd": "ValueError: odd"}
    commit(again, 1, "label", queried=queried("c", round=1), labels={"c": "cat"}, metrics={"labels": 1})
    assert [step.number for step in again.steps()] == [1, 2, 3, 4]
    if again._engine.dialect.name == "sqlite":
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), again._engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM labels")


@pytest.mark.parametrize("version", [1, 4])  # the first and the last of the migrations
def test_a_migration_is_whole_or_nothing(ledger, opened, monkeypatch, version):
    as_version(ledger, 1)
    before = contents(ledger)
    statements = MIGRATIONS[version]
    monkeypatch.setitem(MIGRATIONS, version, [*statements, "SELECT no_such_function()"])
    with pytest.raises(sa.exc.DBAPIError):
        opened()
    assert contents(ledger) == before
    monkeypatch.setitem(MIGRATIONS, version, statements)
    assert len(opened().steps()) == 3


def tables(ledger):
    with ledger._engine.connect() as connection:
        found = sa.inspect(connection)
        return {table: sorted(each["name"] for each in found.get_columns(table)) for table in found.get_table_names()}


def test_every_connection_syncs_and_checks_references(tmp_path):
    """SQLite's numbers: synchronous 2 is FULL."""
    ledger = Ledger.at(tmp_path)
    with ledger._engine.connect() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
    assert found == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
