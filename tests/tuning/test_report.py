"""The page of a search: importance of parameters, slices, what it bought."""

import json
from pathlib import Path

import numpy as np
import optuna

from xal.tuning.report import importance, write_search

SPACE = {
    "explainer.max_evals": optuna.distributions.IntDistribution(2, 200, log=True),
    "strategy.sample": optuna.distributions.CategoricalDistribution([4, 20]),
}


def trial(evals: int, sample: int, value: float | None, round: int = 2) -> dict[str, object]:
    settings = {"explainer.max_evals": evals, "strategy.sample": sample}
    return {"settings": settings, "value": value, "round": round, "reason": None if value is not None else "E: no <b>"}


def test_what_decides_the_value_has_all_importance() -> None:
    generator = np.random.default_rng(0)
    trials = [trial(int(generator.integers(2, 200)), int(s), s / 40) for s in generator.choice([4, 20], 30)]
    shares = importance(trials, SPACE, 2)
    assert shares["strategy.sample"] > 0.95 and abs(sum(shares.values()) - 1) < 1e-9
    assert importance(trials[::-1], SPACE, 2) == shares == importance(trials[5:] + trials[:5], SPACE, 2)
    assert importance(trials[:3], SPACE, 2) == {} == importance(trials, SPACE, 3)  # too few that ran to the end


def test_the_page(tmp_path: Path) -> None:
    trials = [trial(9, 4, 0.5), trial(90, 20, 0.25, round=1), trial(3, 4, None)]
    best, values = trials[0]["settings"], {"default": [0.5, 0.6], "best": [0.6, 0.7]}
    logs = dict.fromkeys(SPACE, False)
    told = {"metric": "accuracy", "mode": "oracle", "rounds": 2, "log": logs}
    page = write_search(tmp_path, trials, {"strategy.sample": 0.75}, values, best=best, **told).read_text()
    assert "3 trials, 1 failed, 1 stopped early; accuracy" in page and "75.0%" in page and "E: no &lt;b&gt;" in page
    assert "mean accuracy over the rounds: default 0.5500, best settings 0.6500, difference <b>+0.1000 ± 0.0000" in page
    assert json.loads((tmp_path / "search.json").read_text())["bought"]["mean"] > 0.0999
    none = write_search(tmp_path, trials[2:], {}, {}, best=None, **told).read_text()
    assert "Every trial failed" in none and "Not measured" in none and "Too few trials" in none
