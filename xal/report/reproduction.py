"""A page on the reproduction of papers: measured results beside the published ones, written from run directories.

A YAML file of studies lists the runs of each study, and the numbers and claims of its paper. The curves are stored
beside the page as JSON, so a study whose runs are no longer there keeps its results. A claim `a > b` is tested on the
difference of the two arms, paired by seed: it holds if the whole 95% interval is above 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from xal.core.config import parse
from xal.core.registry import nearest
from xal.errors import ConfigError, RunError
from xal.evaluation.curves import Curves, area, comparison, interval, paired
from xal.report.figures import learning_curves
from xal.report.html import arms_of, curves_of
from xal.report.markdown import table_lines
from xal.report.study_tables import (
    FORECAST_HEADER,
    forecast_row,
    n_measured,
    saved_rows,
    thirds_header,
    thirds_rows,
)
from xal.store.directory import run_directories
from xal.store.run import read_run

CLAIM = re.compile(r"([\w-]+) ([<>]) ([\w-]+)(?: in ([\w.]+))?")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claim that the metric of arm `one` is above (or below) that of arm `other`."""

    text: str
    one: str
    other: str
    above: bool
    measure: str

    @classmethod
    def of(cls, text: str, measure: str) -> Claim:
        """Parse a text that matches CLAIM; `measure`: the metric if the text names none."""
        one, sign, other, metric = CLAIM.fullmatch(text).groups()  # type: ignore[union-attr]
        return cls(text=text, one=one, other=other, above=sign == ">", measure=metric or measure)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Runs of one recipe, and the numbers and claims of a paper about them."""

    title: str
    runs: str
    """Folder of the runs."""
    command: str
    """Command that made the runs."""
    about: str = ""
    """Differences from the paper's experiment."""
    measure: str = "accuracy"
    """Metric of the evaluation, such as accuracy, macro_f1, log_loss or explanation_f1; train.NAME and label.NAME are
    metrics of other steps."""
    at: Literal["end", "mean"] = "end"
    """What the paper's numbers and claims are about: the metric at the end, or its mean over the curve."""
    against: str = "random"
    """Arm that the others are compared with."""
    thirds: tuple[str, ...] = ()
    """Arms that the others are compared with in each third of the curve, such as random and margin; ten rounds or so
    are needed. With it come the labels saved against the first of them, and a check of forecasts."""
    besides_measure: tuple[str, ...] = ()
    """Other metrics, in a table of their values at the end."""
    paper: dict[str, float] = field(default_factory=dict)
    """The paper's number by arm."""
    claims: tuple[str, ...] = ()
    """The paper's claims: `arm > arm` or `arm < arm`, for another metric `arm > arm in METRIC`."""
    besides: tuple[str, ...] = ()
    """Further claims to test, in the same form."""
    pictures: tuple[str, ...] = ()
    """Names of picture files beside the page."""
    tables: tuple[str, ...] = ()
    """Names of Markdown files beside the page, which it includes unchanged."""
    remarks: str = ""
    """Text after the tables."""

    def __post_init__(self) -> None:
        malformed = [claim for claim in [*self.claims, *self.besides] if not CLAIM.fullmatch(claim)]
        if malformed:
            raise ConfigError([f"claims: expected `arm > arm` or `arm < arm`, got '{claim}'" for claim in malformed])

    @property
    def all_claims(self) -> list[Claim]:
        """The paper's claims, then the further ones."""
        return [Claim.of(claim, self.measure) for claim in [*self.claims, *self.besides]]

    @property
    def arms(self) -> set[str]:
        """Arms that the paper's numbers or the claims name."""
        return {*self.paper, *(arm for claim in self.all_claims for arm in (claim.one, claim.other))}

    @property
    def measures(self) -> list[str]:
        """Metrics that the study needs, its main one first."""
        return list(dict.fromkeys([self.measure, *self.besides_measure, *(claim.measure for claim in self.all_claims)]))


@dataclass(frozen=True, kw_only=True)
class Studies:
    """The content of a file of studies."""

    title: str = "Results"
    introduction: str = ""
    studies: tuple[Study, ...] = ()


def write_results(source: Path, destination: Path, command: str, say: Callable[[str], None]) -> Path:
    """Write the page, its figures and its JSON; raises ConfigError for mistakes, RunError for studies without runs."""
    try:
        mapping = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([f"cannot be read: {error}"], str(source)) from error
    file: Studies = parse(Studies, {} if mapping is None else mapping, str(source))
    if not file.studies:
        raise ConfigError(["studies: names none; each needs a title, runs (their folder) and a command"], str(source))
    store = destination.with_suffix(".json")
    stored: dict[str, Any] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    measured, never_run = {}, []
    for study in file.studies:
        folder = Path(study.runs)
        if folder.is_dir() and run_directories(folder):
            measured[study.title] = _measured(folder, study.measures)
        elif study.title in stored:
            measured[study.title] = stored[study.title]
            say(f"{study.title}: no runs in {folder}, as measured before")
        else:
            never_run.append(f"{study.title}: no runs in {folder}; {study.command}")
    if never_run:
        raise RunError("studies that were never run:\n" + _listed(never_run))
    problems = []
    for study in file.studies:
        arms: dict[str, Any] = next(iter(measured[study.title]["curves"].values()), {})
        named = study.arms | ({study.against} - {"random"})  # random is the default, so it may be missing
        named |= set(study.thirds)
        unknown = sorted(named - set(arms)) if arms else []
        problems += [f"{study.title}: its runs have no arm '{arm}'{nearest(arm, arms)}" for arm in unknown]
        missing = [name for name in [*study.pictures, *study.tables] if not destination.with_name(name).exists()]
        problems += [f"{study.title}: no file {destination.with_name(name)}" for name in missing]
        unmeasured = [name for name in study.measures if name not in measured[study.title]["curves"]]
        problems += [
            f"{study.title}: its runs did not measure {name}; all runs measure accuracy, macro_f1 and log_loss"
            for name in unmeasured
        ]
    if problems:
        raise ConfigError(problems, str(source))
    destination.parent.mkdir(parents=True, exist_ok=True)
    sections, failed = [], []
    for study in file.studies:
        results = measured[study.title]
        by_measure = {measure: _by_seed(curves) for measure, curves in results["curves"].items()}
        curves = by_measure[study.measure]
        verdicts = [(claim.text, *_verdict(by_measure[claim.measure], claim, study.at)) for claim in study.all_claims]
        failed += [(study.title, *verdict) for verdict in verdicts[: len(study.claims)] if verdict[2] != HOLDS]
        figure = destination.with_name(f"{destination.stem}-{_slug(study.title)}.svg")
        if max(len(curve[0]) for by_seed in curves.values() for curve in by_seed.values()) > 1:
            figure.write_text(learning_curves(curves, _title(study.measure)) + "\n", encoding="utf-8")
        tables = [destination.with_name(name).read_text(encoding="utf-8") for name in study.tables]
        sections.append(_section(study, results, by_measure, verdicts, figure.name, tables))
    lines = [
        f"# {file.title}",
        "",
        f"Written by `{command}`. Means ± half the 95% interval over the seeds (Student's t); differences are paired "
        "by seed; mean: area under the learning curve over its width; below another arm: share of all rounds after the "
        f"first, over the seeds. Every run's curve is in [{store.name}]({store.name}).",
        "",
        file.introduction.strip(),
        "",
    ]
    if any(study.claims for study in file.studies):
        lines += [
            "## What does not reproduce",
            "",
            "Claims whose whole interval is not on their side of 0.",
            "",
            *table_lines(["study", "the paper", "here", ""], [list(row) for row in failed]),
        ]
    text = "\n".join([*lines, *sections, *_forecasts(file.studies, measured)])
    destination.write_text(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n", encoding="utf-8")
    store.write_text(json.dumps(measured, separators=(",", ":")) + "\n", encoding="utf-8")
    return destination


HOLDS, OPPOSITE, OPEN = "holds", "the opposite", "not told apart"  # verdicts on a claim


def _measured(folder: Path, measures: Sequence[str]) -> dict[str, Any]:
    """Model, pool, seeds and curves of the runs in a folder; raises RunError for unfinished runs."""
    arms = arms_of([read_run(path) for path in run_directories(folder)])
    runs = [run for group in arms.values() for run in group]
    unfinished = [f"{run.directory}: {run.state}" for run in runs if run.state != "finished"]
    if unfinished:
        raise RunError("some runs are not finished; continue them with the same command:\n" + _listed(unfinished))
    recipe = runs[0].recipe
    available = [name for name in measures if all(run.curve(name)[1] for run in runs)]
    return {
        "model": recipe["model"]["name"],
        "pool": recipe["pool"]["source"],
        "seeds": sorted({run.seed for run in runs}),
        "test_items": n_measured(runs),
        "curves": {measure: curves_of(arms, measure) for measure in available},
    }


def _by_seed(curves: Mapping[str, Mapping[Any, Any]]) -> Curves:
    """Curves with integer seeds, which are strings in JSON."""
    return {
        arm: {int(seed): (curve[0], curve[1]) for seed, curve in by_seed.items()} for arm, by_seed in curves.items()
    }


def _value(curve: tuple[list[int], list[float]], at: str) -> float:
    """The last value of a curve, or its mean."""
    return curve[1][-1] if at == "end" else area(*curve)


def _verdict(curves: Curves, claim: Claim, at: str) -> tuple[str, str]:
    """(the paired difference, the verdict on the claim)."""
    seeds = sorted(curves[claim.one].keys() & curves[claim.other].keys())
    one, other = ([_value(curves[arm][seed], at) for seed in seeds] for arm in (claim.one, claim.other))
    difference = paired(one, other)
    low, high = difference.mean - difference.half, difference.mean + difference.half
    low, high = (low, high) if claim.above else (-high, -low)
    return difference.signed(), HOLDS if low > 0 else OPPOSITE if high < 0 else OPEN


def _title(measure: str) -> str:
    """The name of a metric in words."""
    step, _, name = measure.rpartition(".")
    name = name.replace("_f1", " F1").replace("_", " ")
    return f"{name} of queries" if step == "label" else name


def _section(
    study: Study,
    results: Mapping[str, Any],
    by_measure: Mapping[str, Curves],
    verdicts: Sequence[tuple[str, str, str]],
    figure: str,
    tables: Sequence[str],
) -> str:
    """The page's section on a study."""
    curves = by_measure[study.measure]
    table = comparison(curves, study.against)
    versus = f"against {study.against}"
    header = ["arm", f"{_title(study.measure)} after {table['labels'][-1]} labels"]
    papers = ["the paper"] * bool(study.paper)
    several = len(table["labels"]) > 1
    header += papers * (study.at == "end") + [versus]
    header += (["mean over the curve"] + papers * (study.at == "mean") + [versus, f"below {study.against}"]) * several
    rows = []
    for row in table["rows"]:
        paper = [f"{study.paper[row['arm']]:.4f}" if row["arm"] in study.paper else ""] if study.paper else []
        end, mean = (paper, []) if study.at == "end" else ([], paper)
        cells = [row["arm"], *_ends(curves, row["arm"], study.against)]
        cells[2:2] = end
        rows.append(cells + [row["area"], *mean, row["difference"], row["below"]] * several)
    others = []
    for measure in study.besides_measure:
        for arm in by_measure[measure]:
            others.append([_title(measure), arm, *_ends(by_measure[measure], arm, study.against)])
    seeds = ", ".join(map(str, results["seeds"]))
    verdict_header = (f"difference here ({study.at})", "")
    lines = [
        "",
        f"## {study.title}",
        "",
        study.about.strip(),
        "",
        f"`{study.command}`: model `{results['model']}`, pool `{results['pool']}`, seeds {seeds}.",
        "",
        *([f"![learning curves]({figure})", ""] if several else []),
        *table_lines(header, rows),
        "",
        *_thirds(study, curves),
        *table_lines(["besides", "arm", "at the end", versus], others),
        "",
        *table_lines(["the paper", *verdict_header], [list(verdict) for verdict in verdicts[: len(study.claims)]]),
        "",
        *table_lines(["asked besides", *verdict_header], [list(verdict) for verdict in verdicts[len(study.claims) :]]),
        "",
        *(f"![{Path(name).stem}]({name})\n" for name in study.pictures),
        *(f"{text.strip()}\n" for text in tables),
        study.remarks.strip(),
    ]
    return "\n".join(lines)


def _thirds(study: Study, curves: Curves) -> list[str]:
    """Thirds of the curve and labels saved, if the study asks for them."""
    if not study.thirds:
        return []
    return [
        "Differences of the mean over each third of the rounds; bold: the whole interval is above 0.",
        "",
        *table_lines(thirds_header(study.thirds), thirds_rows(curves, study.thirds)),
        "",
        *table_lines(["arm", f"labels saved against {study.thirds[0]}"], saved_rows(curves, study.thirds[0])),
        "",
    ]


def _forecasts(studies: Sequence[Study], measured: Mapping[str, Any]) -> list[str]:
    """How well forecasts held, in the studies that have enough rounds."""
    rows = []
    for study in studies:
        results = measured[study.title]
        if study.thirds and "accuracy" in results["curves"]:
            row = forecast_row(study.title, _by_seed(results["curves"]["accuracy"]), results.get("test_items"))
            rows += [row] if row else []
    if not rows:
        return []
    return [
        "",
        "## Did the forecasts hold?",
        "",
        "After every round from the fifth on, what 100 more labels would bring was forecast from the rounds before, "
        "and compared with what they brought; intervals are of 95%.",
        "",
        *table_lines(FORECAST_HEADER, rows),
    ]


def _ends(curves: Curves, arm: str, against: str) -> list[str]:
    """[mean at the end, difference from another arm, paired by seed], as text with intervals."""
    ends = {seed: _value(curve, "end") for seed, curve in curves[arm].items()}
    others = {seed: _value(curve, "end") for seed, curve in curves.get(against, {}).items()}
    shared = sorted(ends.keys() & others.keys()) if arm != against else []
    difference = paired([ends[s] for s in shared], [others[s] for s in shared]).signed() if shared else ""
    return [str(interval(list(ends.values()))), difference]


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
