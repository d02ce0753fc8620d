"""CPU threads are fixed for a while, and given back."""

import subprocess
import sys

import pytest
import torch
from threadpoolctl import threadpool_info

from xal.core.threads import threads


def blas() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_torch_and_blas_have_that_many_and_then_what_they_had() -> None:
    import scipy.linalg  # noqa: F401 (has a BLAS of its own)

    before = torch.get_num_threads(), blas()
    with threads(1):
        assert torch.get_num_threads() == 1 and blas() == {1}
    with pytest.raises(ZeroDivisionError), threads(1):
        raise ZeroDivisionError
    assert (torch.get_num_threads(), blas()) == before


def test_a_library_that_is_loaded_later_is_limited_too() -> None:
    pytest.importorskip("faiss")
    code = """
from threadpoolctl import threadpool_info
from xal.core.threads import threads
with threads(1):
    pass
import faiss
with threads(1):
    print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"
