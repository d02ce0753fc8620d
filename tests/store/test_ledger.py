"""The ledger: all of a step or none of it, and labels that the database itself protects."""

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from xal.errors import LabelError, RunError
from xal.store.ledger import SCHEMA_VERSION, Ledger, Queried


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.at(tmp_path)
    yield ledger
    ledger.close()


def queried(*names, round=0):
    return [
        Queried(id=name, round=round, rank=rank, row=rank + 10, score=1 / (rank + 1), why="entropy")
        for rank, name in enumerate(names)
    ]


def commit(ledger, round=0, step="query", **what):
    ledger.commit(round, step, seconds=1.5, figures=what.pop("figures", {}), **what)


def contents(path):
    """Every row of every table, read past SQLAlchemy."""
    with closing(sqlite3.connect(path / "ledger.sqlite")) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}"))) for table in tables}


def test_a_step_comes_back_as_it_was_committed(ledger, tmp_path):
    items = [
        Queried(id="a", round=2, rank=0, row=7, score=0.1, why="entropy", prediction="cat", confidence=0.25),
        Queried(id="b", round=2, rank=1, row=3, score=-1e-300, why="random"),
    ]
    figures = {"accuracy": 0.1 + 0.2, "items": 3, "names": ["x", "y"], "none": None}
    commit(
        ledger,
        2,
        artefact="round-002/query",
        queried=items,
        figures=figures,
        unreadable={"z": "no image", "y": "MemoryError: 3"},
    )
    ledger.close()
    again = Ledger.at(tmp_path)
    (step,) = again.steps()
    assert (step.round, step.step, step.seconds, step.artefact) == (2, "query", 1.5, "round-002/query")
    assert step.figures == figures
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
def test_a_failing_commit_leaves_nothing(ledger, tmp_path, what):
    commit(ledger, queried=queried("a", "b"), labels={"b": "cat"}, annotator="oracle")
    before = contents(tmp_path)
    with pytest.raises(sa.exc.IntegrityError):
        commit(ledger, 1, unreadable={"broken": "no image"}, **what)
    assert contents(tmp_path) == before


def test_figures_that_json_cannot_hold_leave_nothing(ledger, tmp_path):
    before = contents(tmp_path)
    with pytest.raises(TypeError):
        commit(ledger, queried=queried("a"), figures={"bad": object()})
    assert contents(tmp_path) == before


def test_a_step_is_committed_once(ledger, tmp_path):
    commit(ledger, queried=queried("a"))
    before = contents(tmp_path)
    with pytest.raises(sa.exc.IntegrityError):
        commit(ledger, queried=queried("b"))
    assert contents(tmp_path) == before


def test_an_interrupt_within_a_commit_leaves_nothing(ledger, tmp_path):
    def items():
        yield from queried("a")
        raise KeyboardInterrupt

    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        commit(ledger, queried=items())
    assert contents(tmp_path) == before


def test_facts_are_written_once(ledger):
    assert ledger.fact("pool") is None
    ledger.record_fact("pool", "abc")
    with pytest.raises(sa.exc.IntegrityError):
        ledger.record_fact("pool", "xyz")
    assert ledger.fact("pool") == "abc"


def test_an_unreadable_item_is_counted_in_its_first_round(ledger, tmp_path):
    commit(ledger, 0, unreadable={"b": "no image"})
    commit(ledger, 1, unreadable={"b": "other", "a": "no image"})
    assert ledger.unreadable() == {"a": "no image", "b": "no image"}
    assert contents(tmp_path)["unreadable"] == ["('a', 1, 'no image')", "('b', 0, 'no image')"]


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
        ],
    )
    def test_the_database_refuses_to_change_one(self, ledger, tmp_path, statement):
        ledger.add_labels({"a": "cat"}, "anna")
        with (
            closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection,
            pytest.raises(sqlite3.IntegrityError, match="append-only"),
        ):
            connection.execute(statement)
        assert {item.id: item.label for item in ledger.queried()} == {"a": "cat", "b": None, "c": None}

    def test_come_in_parts(self, ledger, tmp_path):
        assert ledger.add_labels({"a": "cat"}, "anna") == 1
        assert ledger.add_labels({"c": "dog", "b": "cat"}, "ben") == 2
        assert [item.label for item in ledger.queried()] == ["cat", "cat", "dog"]
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
            assert dict(connection.execute("SELECT id, annotator FROM labels")) == {"a": "anna", "b": "ben", "c": "ben"}

    def test_the_same_again_is_no_change(self, ledger, tmp_path):
        ledger.add_labels({"a": "cat", "b": "dog"}, "anna")
        before = contents(tmp_path)
        assert ledger.add_labels({"a": "cat", "b": "dog"}, "ben") == 0
        assert contents(tmp_path) == before
        assert ledger.add_labels({"a": "cat", "c": "dog"}, "ben") == 1

    def test_every_problem_is_listed_and_nothing_imported(self, ledger, tmp_path):
        ledger.add_labels({"a": "cat", "b": "dog"}, "anna")
        before = contents(tmp_path)
        with pytest.raises(LabelError) as caught:
            ledger.add_labels({"c": "cat", "x": "cat", "a": "dog", "y": "dog", "b": "cat"}, "ben")
        lines = str(caught.value).splitlines()
        assert len(lines) == 4
        for item, *words in [("x", "not queried"), ("y", "not queried"), ("a", "cat", "dog"), ("b", "dog", "cat")]:
            (line,) = [line for line in lines if line.startswith(f"'{item}'")]
            assert all(word in line for word in words)
        assert contents(tmp_path) == before


def test_another_schema_is_refused(tmp_path):
    Ledger.at(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("UPDATE facts SET value = ? WHERE name = 'schema'", (str(SCHEMA_VERSION + 1),))
        connection.commit()
    with pytest.raises(RunError, match=f"schema {SCHEMA_VERSION + 1}.*reads {SCHEMA_VERSION}"):
        Ledger.at(tmp_path)


def test_every_connection_syncs_and_checks_references(ledger):
    """SQLite's numbers: synchronous 2 is FULL."""
    with ledger._engine.connect() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
    assert found == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
