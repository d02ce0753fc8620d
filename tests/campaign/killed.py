"""Run a small campaign; SIGKILL this process AFTER seconds (never: -1). `killed.py POOL RUN AFTER ENGINE`."""

import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.recipes import small
from xal.campaign.experiment import run_experiment
from xal.progress import Reporter


def main(pool: str, run: str, after: float, engine: str) -> None:
    recipe = small(Path(pool), engine={"name": engine, "batch": 16})
    if after >= 0:
        threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    run_experiment(recipe, Path(run), Reporter(quiet=True))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
