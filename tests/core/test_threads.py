"""CPU threads are fixed for a while, and given back."""

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
