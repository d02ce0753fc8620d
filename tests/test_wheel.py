"""The built wheel, installed alone in an empty environment, is what a notebook needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
NOTEBOOK = """
import numpy as np
import xal

X = np.random.default_rng(0).normal(size=(60, 3))
learner = xal.Learner(X, strategy="margin")
for _ in range(2):
    batch = learner.ask(10)
    learner.tell(batch, ["high" if X[position, 0] > 0 else "low" for position in batch.positions])
print(len(learner.predict()), learner.explain(X[:2]).feature_kind)
calls = [
    lambda: xal.RayEngine().open(),
    lambda: xal.query("density_weighted", embeddings=X, n=2, labelled=[0]),
]
for call in calls:
    try:
        call()
    except xal.XalError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [UV, "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_it_holds_types_templates_and_the_demo(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"xal/py.typed", "xal/core/templates/report.html", "xal/datasets/demo/pool.parquet"} <= names
    assert not any(name.startswith(("tests", "docs", "benchmarks")) for name in names)


def test_it_is_enough_for_a_notebook_and_names_the_extras(wheel, tmp_path):
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, tmp_path / "env"], check=True)
    subprocess.run([UV, "pip", "install", "-q", "--python", python, wheel], check=True)
    run = subprocess.run([python, "-c", NOTEBOOK], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    first, *errors = run.stdout.splitlines()
    assert first == "60 columns"
    assert "xal-ray[ray]" in errors[0] and "xal-ray[faiss]" in errors[1]
    command = [tmp_path / "env" / "bin" / "xal", "list"]
    assert "explanation_disagreement" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
