"""Context manager that limits the CPU threads of torch and of numpy's BLAS."""

from __future__ import annotations

import sys
from functools import lru_cache

import torch
from threadpoolctl import ThreadpoolController


class threads:
    """Sets the number of CPU threads of torch and numpy inside a `with` block.

    Rounding, and so a query, must not depend on the number of cores, and parallel processes must not compete for them.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.previous = torch.get_num_threads()
        torch.set_num_threads(self.number)
        self.blas = _blas(len(sys.modules)).limit(limits=self.number, user_api="blas")

    def __exit__(self, *_: object) -> None:
        self.blas.restore_original_limits()
        torch.set_num_threads(self.previous)


@lru_cache(maxsize=1)
def _blas(n_modules: int) -> ThreadpoolController:
    """The controller of the loaded BLAS libraries, found again after an import: finding takes longer than many batches.

    n_modules: the number of imported modules, since faiss and others bring a BLAS of their own.
    """
    import scipy.linalg  # noqa: F401 (loads a BLAS of its own)

    return ThreadpoolController()
