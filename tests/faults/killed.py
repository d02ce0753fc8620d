"""Run small campaigns and kill something in them. Each line of the input is a JSON object of settings.

A campaign runs in a process of its own, forked from this one once it has imported everything (and nothing more: it
has no threads), so that the moments of the kills fall into the campaign. after: SIGKILL that process so many seconds
after it began. of: instead, kill processes of that name (as Ray sets it), `kills` of them, at moments drawn from
`seed`. Answers with {"family": ...} and {"signal": 9}, or {"seconds": ..., "killed": ...}.
"""

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import psutil
import pyarrow.dataset
import sklearn.cluster
import torch._dynamo

from tests.recipes import small
from xal.campaign.experiment import run_experiment
from xal.core.progress import Reporter


def die() -> None:
    """SIGKILL this process, having said what it started: its children, theirs, and when each began."""
    family = [(each.pid, each.create_time()) for each in psutil.Process().children(recursive=True)]
    print(json.dumps({"family": family}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


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


def main(settings: dict) -> None:
    if "stray" in settings:
        if not os.fork():
            from ray._raylet import setproctitle  # not above: ray is imported by the engine, once it has set its token

            setproctitle("ray::stray")
            time.sleep(settings["stray"])
            os._exit(0)
        die()
    if "after" in settings:
        threading.Timer(settings["after"], die).start()
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


def serve() -> None:
    print(
        json.dumps({"imported": [torch._dynamo.__name__, pyarrow.dataset.__name__, sklearn.cluster.__name__]}),
        flush=True,
    )
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 1
            try:
                main(json.loads(line))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)  # a timer may be waiting
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        if ended:
            print(json.dumps({"signal": -ended}), flush=True)


if __name__ == "__main__":
    serve()
