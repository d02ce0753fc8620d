"""A project's results, the papers' figures beside them, written from run directories.

A file of studies (YAML) says which runs belong together, what a paper printed, and what it claims. Their curves are
kept beside the page as JSON, so a study whose runs are elsewhere stays as it was measured. A claim `a > b` is held
against the difference of the two arms, paired by seed: it holds where the whole 95% interval is above 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from xal.component import nearest
from xal.config import parse
from xal.errors import ConfigError, RunError
from xal.metrics.curves import Curves, area, comparison, interval, paired
from xal.report.figures import learning_curves
from xal.report.page import arms_of, curves_of, measures_of
from xal.report.runs import read_run
from xal.store.directory import run_directories


@dataclass(frozen=True, kw_only=True)
class Study:
    """Runs of one recipe, and what is said of them."""

    title: str
    runs: str
    """Their folder."""
    command: str
    """What made them."""
    about: str = ""
    """What differs from the paper's experiment."""
    measure: Literal["accuracy", "macro_f1"] = "accuracy"
    at: Literal["end", "mean"] = "end"
    """What the paper prints and claims: the measure at the end, or its mean over the curve."""
    paper: dict[str, float] = field(default_factory=dict)
    """The paper's figure by arm."""
    claims: tuple[str, ...] = ()
    """The paper's, `arm > arm`."""
    besides: tuple[str, ...] = ()
    """What no paper claims and is asked all the same, `arm > arm`."""
    pictures: tuple[str, ...] = ()
    """Files beside the page."""
    remarks: str = ""
    """In words, after the tables."""

    def __post_init__(self) -> None:
        wrong = [claim for claim in [*self.claims, *self.besides] if not re.fullmatch(r"[\w-]+ > [\w-]+", claim)]
        if wrong:
            raise ConfigError([f"claims: expected `arm > arm`, got '{claim}'" for claim in wrong])

    @property
    def arms(self) -> set[str]:
        """All that are spoken of."""
        return {*self.paper, *(arm for claim in [*self.claims, *self.besides] for arm in claim.split(" > "))}


@dataclass(frozen=True, kw_only=True)
class Studies:
    """The file."""

    title: str = "Results"
    introduction: str = ""
    studies: tuple[Study, ...] = ()


def write_results(source: Path, destination: Path, command: str, say: Callable[[str], None]) -> Path:
    """Write the page, its figures and its JSON; raises ConfigError, and RunError for studies that were never run."""
    try:
        mapping = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([f"cannot be read: {error}"], str(source)) from error
    wanted: Studies = parse(Studies, {} if mapping is None else mapping, str(source))
    if not wanted.studies:
        raise ConfigError(["studies: names none; each has a title, runs (their folder) and a command"], str(source))
    kept = destination.with_suffix(".json")
    known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    measured, never = {}, []
    for study in wanted.studies:
        folder = Path(study.runs)
        if folder.is_dir() and run_directories(folder):
            measured[study.title] = _measured(folder)
        elif study.title in known:
            measured[study.title] = known[study.title]
            say(f"{study.title}: no runs in {folder}, as measured before")
        else:
            never.append(f"{study.title}: no runs in {folder}; {study.command}")
    if never:
        raise RunError("studies that were never run:\n" + _listed(never))
    problems = []
    for study in wanted.studies:
        arms: dict[str, Any] = next(iter(measured[study.title]["curves"].values()), {})
        strangers = sorted(study.arms - set(arms))
        problems += [f"{study.title}: its runs have no arm '{arm}'{nearest(arm, arms)}" for arm in strangers]
        missing = [name for name in study.pictures if not destination.with_name(name).exists()]
        problems += [f"{study.title}: no picture {destination.with_name(name)}" for name in missing]
    if problems:
        raise ConfigError(problems, str(source))
    destination.parent.mkdir(parents=True, exist_ok=True)
    sections, failed = [], []
    for study in wanted.studies:
        facts = measured[study.title]
        if study.measure not in facts["curves"]:
            raise RunError(
                f"{study.title}: its runs did not measure {study.measure}; only {', '.join(facts['curves'])}"
            )
        curves = _by_seed(facts["curves"][study.measure])
        judged = [(claim, *_judge(curves, claim, study.at)) for claim in [*study.claims, *study.besides]]
        failed += [(study.title, *each) for each in judged[: len(study.claims)] if each[2] != HOLDS]
        figure = destination.with_name(f"{destination.stem}-{_slug(study.title)}.svg")
        figure.write_text(learning_curves(curves, study.measure) + "\n", encoding="utf-8")
        sections.append(_section(study, facts, curves, judged, figure.name))
    lines = [
        f"# {wanted.title}",
        "",
        f"Written by `{command}`. Means ± half the 95% interval over the seeds (Student's t); differences are paired "
        "by seed; mean: area under the learning curve over its width; below random: share of all rounds after the "
        f"first, over the seeds. Every run's curve is in [{kept.name}]({kept.name}).",
        "",
        wanted.introduction.strip(),
        "",
        "## What does not reproduce",
        "",
        "Claims whose difference is not above 0 by its whole interval.",
        "",
        *_table(["study", "the paper", "here", ""], [list(each) for each in failed]),
    ]
    text = "\n".join([*lines, *sections])
    destination.write_text(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n", encoding="utf-8")
    kept.write_text(json.dumps(measured, separators=(",", ":")) + "\n", encoding="utf-8")
    return destination


HOLDS, OPPOSITE, OPEN = "holds", "the opposite", "not told apart"


def _measured(folder: Path) -> dict[str, Any]:
    arms = arms_of([read_run(path) for path in run_directories(folder)])
    runs = [run for group in arms.values() for run in group]
    unfinished = [f"{run.directory}: {run.state}" for run in runs if run.state != "finished"]
    if unfinished:
        raise RunError("results want finished runs; the command that made them continues them:\n" + _listed(unfinished))
    recipe = runs[0].recipe
    measures = measures_of(runs)
    return {
        "model": recipe["model"]["name"],
        "pool": recipe["pool"]["source"],
        "seeds": sorted({run.seed for run in runs}),
        "curves": {measure: curves_of(arms, measure) for measure in measures},
    }


def _by_seed(stored: Mapping[str, Mapping[Any, Any]]) -> Curves:
    """JSON has no numbers as keys."""
    return {arm: {int(seed): (curve[0], curve[1]) for seed, curve in each.items()} for arm, each in stored.items()}


def _value(curve: tuple[list[int], list[float]], at: str) -> float:
    return curve[1][-1] if at == "end" else area(*curve)


def _judge(curves: Curves, claim: str, at: str) -> tuple[str, str]:
    """(the difference, what it says of the claim)."""
    one, other = claim.split(" > ")
    seeds = sorted(curves[one].keys() & curves[other].keys())
    found = paired([_value(curves[one][s], at) for s in seeds], [_value(curves[other][s], at) for s in seeds])
    verdict = HOLDS if found.mean - found.half > 0 else OPPOSITE if found.mean + found.half < 0 else OPEN
    return found.signed(), verdict


def _section(
    study: Study, facts: Mapping[str, Any], curves: Curves, judged: Sequence[tuple[str, str, str]], figure: str
) -> str:
    table = comparison(curves)
    measure = study.measure.replace("macro_f1", "macro F1")
    header = ["arm", f"{measure} after {table['labels'][-1]} labels"]
    papers = ["the paper"] * bool(study.paper)
    header += papers * (study.at == "end") + ["against random", "mean over the curve"]
    header += papers * (study.at == "mean") + ["against random", "below random"]
    rows = []
    for row in table["rows"]:
        ends = {seed: _value(curve, "end") for seed, curve in curves[row["arm"]].items()}
        random = {seed: _value(curve, "end") for seed, curve in curves.get("random", {}).items()}
        shared = sorted(ends.keys() & random.keys()) if row["arm"] != "random" else []
        against = paired([ends[s] for s in shared], [random[s] for s in shared]).signed() if shared else ""
        paper = [f"{study.paper[row['arm']]:.4f}" if row["arm"] in study.paper else ""] if study.paper else []
        end, mean = (paper, []) if study.at == "end" else ([], paper)
        cells = [row["arm"], str(interval(list(ends.values()))), *end, against]
        rows.append([*cells, row["area"], *mean, row["difference"], row["below"]])
    seeds = ", ".join(map(str, facts["seeds"]))
    here = (f"difference here ({study.at})", "")
    lines = [
        "",
        f"## {study.title}",
        "",
        study.about.strip(),
        "",
        f"`{study.command}`: model `{facts['model']}`, pool `{facts['pool']}`, seeds {seeds}.",
        "",
        f"![learning curves]({figure})",
        "",
        *_table(header, rows),
        "",
        *_table(["the paper", *here], [list(each) for each in judged[: len(study.claims)]]),
        "",
        *_table(["asked besides", *here], [list(each) for each in judged[len(study.claims) :]]),
        "",
        *(f"![{Path(name).stem}]({name})\n" for name in study.pictures),
        study.remarks.strip(),
    ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    rule = f"| --- |{' ---: |' * (len(header) - 1)}"
    first, *others = (f"| {' | '.join(cells)} |" for cells in [header, *rows])
    return [first, rule, *others]


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
