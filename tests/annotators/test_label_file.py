"""Label files: columns, lists of components, and misspelt names."""

from pathlib import Path

from tests.recipes import write_answers
from xal.annotators.label_file import read_labels
from xal.data.label_space import LabelSpace


def test_numbers_name_components_in_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "a", "label": "x", "wrong": 0}\n{"id": "b", "label": "x", "wrong": [0, 7]}\n')
    assert [said["wrong"] for said in read_labels(path, LabelSpace(("x",))).corrections.values()] == [
        ("0",),
        ("0", "7"),
    ]


def test_a_misspelt_column_takes_no_label(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.csv", [{"id": "x", "label": "a", "wrnog": "good", "note": "mine", "Missed": ""}])
    found = read_labels(path, LabelSpace(("a",)))
    assert found.problems == ["column 'Missed'; did you mean 'missed'?", "column 'wrnog'; did you mean 'wrong'?"]
