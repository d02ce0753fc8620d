"""`import xal`: light, typed, and complete."""

import subprocess
import sys
from importlib import resources

import pytest

import xal


def test_importing_xal_imports_neither_torch_nor_ray_nor_numpy():
    code = "import sys, xal; print(sorted({'torch', 'ray', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_asking_about_arrays_imports_neither_torch_nor_ray():
    code = (
        "import sys, xal; xal.query('margin', probabilities=[[.5, .5], [1, 0]], n=1);"
        "print(sorted({'torch', 'ray', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_name_is_there():
    for name in xal.__all__:
        assert getattr(xal, name) is not None
    assert {"query", "Learner", "run", "open_run", "Recipe", "explain", "Strategy", "Explainer", "Feedback"} <= set(
        dir(xal)
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xal.nothing


def test_the_package_is_typed():
    assert resources.files("xal").joinpath("py.typed").is_file()
