"""Search with Ray Tune and Optuna's TPE: trials run in parallel on the cluster, and an interrupted search resumes."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from xal.engine.ray.private import set_callbacks, trials_of
from xal.engine.ray.session import RaySession
from xal.engine.ray.settings import RaySettings

NAME = "tune"


class Objective(Protocol):
    """What a trial evaluates."""

    def rounds(self, settings: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        """Yield (round, value so far) after each round; larger values are better."""
        ...


def search(
    engine: RaySettings,
    objective: Objective,
    space: Mapping[str, Any],
    directory: Path,
    *,
    trials: int,
    rounds: int,
    stop_early: bool,
    seed: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run the trials; returns for each its settings, value (None if it failed), last round, and reason of failure.

    space: by path a list of choices, or (low, high, log, whole). A search in `directory` is resumed. Raises
    KeyboardInterrupt if SIGINT or SIGTERM stopped the search, where Ray Tune itself would return normally.
    """
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failed trials are reported in one line each
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", "The reported value is ignored")  # of rounds that a resumed trial repeats
    session = RaySession(engine)
    main = threading.current_thread() is threading.main_thread()
    old_handler = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)) if main else None
    try:
        at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))
        trainable = tune.with_resources(_trial(objective), {"cpu": 1})
        storage = str(directory.resolve() / NAME)
        progress = _Progress(trials, rounds, say)
        if tune.Tuner.can_restore(storage):
            say("resuming the search")
            tuner = tune.Tuner.restore(storage, trainable, resume_unfinished=True)
            set_callbacks(tuner, [progress])
        else:
            algorithm = OptunaSearch(
                {path: distribution(span) for path, span in space.items()}, metric="value", mode="max", seed=seed
            )
            scheduler = ASHAScheduler("round", max_t=rounds, grace_period=1, reduction_factor=2) if stop_early else None
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    metric="value",
                    mode="max",
                    search_alg=ConcurrencyLimiter(algorithm, max_concurrent=at_once),
                    scheduler=scheduler,
                    num_samples=trials,
                    reuse_actors=True,  # reuses processes that have imported torch
                ),
                run_config=tune.RunConfig(
                    name=NAME, storage_path=str(directory.resolve()), verbose=0, callbacks=[progress]
                ),
            )
        results = tuner.fit()
        started = trials_of(results)
        if len(started) < trials or not all(trial.is_finished() for trial in started):
            raise KeyboardInterrupt
        # settings come from the trial: a restored result lacks them if the trial failed before its first report
        return [_outcome(result, trial) for result, trial in zip(results, started, strict=True)]
    finally:
        session.close()
        if main:
            signal.signal(signal.SIGTERM, old_handler or signal.SIG_DFL)  # None: not installed from Python


def _trial(objective: Objective) -> Callable[[dict[str, Any]], None]:
    def trial(settings: dict[str, Any]) -> None:
        for round, value in objective.rounds(settings):
            tune.report({"round": round, "value": value})

    return trial


def distribution(span: Any) -> Any:
    """Optuna's distribution for a list of choices or for (low, high, log, whole)."""
    if isinstance(span, list):
        return optuna.distributions.CategoricalDistribution(span)
    low, high, log, whole = span
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(low, high, log=log)


def _outcome(result: Any, trial: Any) -> dict[str, Any]:
    metrics = result.metrics or {}
    reason = None if result.error is None else str(result.error).strip().splitlines()[-1]
    value = None if reason else metrics.get("value")
    return {"settings": dict(trial.config), "value": value, "round": metrics.get("round"), "reason": reason}


class _Progress(tune.Callback):  # type: ignore[misc]
    """Prints a table with one row for each finished trial."""

    def __init__(self, trials: int, rounds: int, say: Callable[[str], None]) -> None:
        self.trials, self.rounds, self.say, self.headed = trials, rounds, say, False

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Print settings, value, the best value so far, and the last round."""
        result = trial.last_result
        if "value" not in result:
            return
        finished = [other.last_result for other in trials if other.status == other.TERMINATED]
        finished = [last for last in finished if "value" in last]
        best = max([*finished, result], key=lambda last: (last["round"], last["value"]))["value"]
        early = ", stopped early" if result["round"] < self.rounds else ""
        self._row(trials, trial, [f"{result['value']:.4f}", f"{best:.4f}", f"{result['round']}{early}"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Print settings, and that the trial failed."""
        self._row(trials, trial, ["failed", "", "the search continues"])

    def _row(self, trials: list[Any], trial: Any, cells: list[str]) -> None:
        done = sum(other is trial or other.is_finished() for other in trials)  # the trial's own status is set later
        settings = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in trial.config.values()]
        rows = [[f"{done} of {self.trials}", *settings, *cells]]
        names = ["trial", *trial.config, "value", "best", "round"]
        if not self.headed:
            rows.insert(0, names)
            self.headed = True
        for row in rows:
            self.say("  ".join(cell.ljust(max(len(name), 9)) for cell, name in zip(row, names, strict=True)).rstrip())

    def __getstate__(self) -> dict[str, Any]:
        return {"trials": self.trials, "rounds": self.rounds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state, say=lambda text: None)  # type: ignore[misc]
