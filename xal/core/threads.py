"""CPU threads of torch and of numpy's BLAS, fixed for a while."""

from __future__ import annotations

from functools import lru_cache

import torch
from threadpoolctl import ThreadpoolController


class threads:
    """Fix torch's and numpy's CPU threads for a while: rounding, and so a query, must not depend on the machine's
    cores, and processes side by side must not fight for them."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.number)
        self.blas = _blas().limit(limits=self.number, user_api="blas")

    def __exit__(self, *_: object) -> None:
        self.blas.restore_original_limits()
        torch.set_num_threads(self.before)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """What is loaded now: looking for it takes longer than many a batch."""
    import scipy.linalg  # noqa: F401 (has a BLAS of its own)

    return ThreadpoolController()
