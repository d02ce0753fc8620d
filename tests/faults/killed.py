"""Run a small campaign and kill something in it: `killed.py SETTINGS`, a JSON object.

after: SIGKILL this process so many seconds after its imports. of: instead, while the campaign runs, kill processes of
that name (as Ray sets it), `kills` of them, at moments drawn from `seed`.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import psutil

from tests.recipes import small
from xal.campaign.experiment import run_experiment
from xal.progress import Reporter


def victims(name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(name):
                found.append(process)
        except psutil.Error:
            continue
    return found


def haunt(name: str, kills: int, seed: int, done: list[int], over: threading.Event) -> None:
    draw = random.Random(seed)
    while len(done) < kills and not over.wait(draw.uniform(0.2, 3.0)):
        living = victims(name)
        if living:
            victim = draw.choice(living)
            victim.kill()
            done.append(victim.pid)
            over.wait(8)  # Ray needs a while to start another


def main(settings: dict) -> None:
    if "after" in settings:
        threading.Timer(settings["after"], lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    recipe = small(Path(settings["pool"]), **settings.get("sections", {}))
    done: list[int] = []
    over = threading.Event()
    if "of" in settings:
        arguments = (settings["of"], settings["kills"], settings["seed"], done, over)
        threading.Thread(target=haunt, args=arguments, daemon=True).start()
    started = time.monotonic()
    run_experiment(recipe, Path(settings["run"]), Reporter(quiet=True))
    over.set()
    print(json.dumps({"seconds": time.monotonic() - started, "killed": len(done)}), flush=True)
    os._exit(0)  # a timer may be waiting


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
