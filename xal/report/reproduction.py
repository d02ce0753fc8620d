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

from xal.core.config import parse
from xal.core.registry import nearest
from xal.errors import ConfigError, RunError
from xal.evaluation.curves import Curves, area, comparison, interval, paired
from xal.report.figures import learning_curves
from xal.report.html import arms_of, curves_of
from xal.report.markdown import table_lines
from xal.store.directory import run_directories
from xal.store.run import read_run

CLAIM = re.compile(r"([\w-]+) ([<>]) ([\w-]+)(?: in ([\w.]+))?")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one arm's measure is above, or below, another's."""

    text: str
    one: str
    other: str
    above: bool
    measure: str

    @classmethod
    def of(cls, text: str, measure: str) -> Claim:
        """Of a text that matches CLAIM."""
        one, sign, other, own = CLAIM.fullmatch(text).groups()  # type: ignore[union-attr]
        return cls(text=text, one=one, other=other, above=sign == ">", measure=own or measure)


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
    measure: str = "accuracy"
    """A figure of evaluation: accuracy, macro_f1, log_loss, explanation_f1, ...; or, as train.NAME and label.NAME, of
    another step."""
    at: Literal["end", "mean"] = "end"
    """What the paper prints and claims: the measure at the end, or its mean over the curve."""
    against: str = "random"
    """The arm that others are compared with."""
    besides_measure: tuple[str, ...] = ()
    """Other measures, tabled at the end of the curve."""
    paper: dict[str, float] = field(default_factory=dict)
    """The paper's figure by arm."""
    claims: tuple[str, ...] = ()
    """The paper's: `arm > arm`, `arm < arm`, of another measure `arm > arm in MEASURE`."""
    besides: tuple[str, ...] = ()
    """What no paper claims and is asked all the same."""
    pictures: tuple[str, ...] = ()
    """Files beside the page."""
    tables: tuple[str, ...] = ()
    """Markdown files beside the page, taken over as they are."""
    remarks: str = ""
    """In words, after the tables."""

    def __post_init__(self) -> None:
        wrong = [claim for claim in [*self.claims, *self.besides] if not CLAIM.fullmatch(claim)]
        if wrong:
            raise ConfigError([f"claims: expected `arm > arm` or `arm < arm`, got '{claim}'" for claim in wrong])

    @property
    def judgements(self) -> list[Claim]:
        """Claims, then what is asked besides."""
        return [Claim.of(claim, self.measure) for claim in [*self.claims, *self.besides]]

    @property
    def arms(self) -> set[str]:
        """All that are spoken of."""
        return {*self.paper, *(arm for claim in self.judgements for arm in (claim.one, claim.other))}

    @property
    def measures(self) -> list[str]:
        """All that are spoken of."""
        return list(dict.fromkeys([self.measure, *self.besides_measure, *(each.measure for each in self.judgements)]))


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
            measured[study.title] = _measured(folder, study.measures)
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
        asked = study.arms | ({study.against} - {"random"})  # the default, which may be missing
        strangers = sorted(asked - set(arms)) if arms else []
        problems += [f"{study.title}: its runs have no arm '{arm}'{nearest(arm, arms)}" for arm in strangers]
        missing = [name for name in [*study.pictures, *study.tables] if not destination.with_name(name).exists()]
        problems += [f"{study.title}: no file {destination.with_name(name)}" for name in missing]
        there = measured[study.title]["curves"]
        unmeasured = [name for name in study.measures if name not in there]
        problems += [
            f"{study.title}: its runs did not measure {name}; they do accuracy, macro_f1, log_loss"
            for name in unmeasured
        ]
    if problems:
        raise ConfigError(problems, str(source))
    destination.parent.mkdir(parents=True, exist_ok=True)
    sections, failed = [], []
    for study in wanted.studies:
        facts = measured[study.title]
        every = {measure: _by_seed(stored) for measure, stored in facts["curves"].items()}
        curves = every[study.measure]
        judged = [(claim.text, *_judge(every[claim.measure], claim, study.at)) for claim in study.judgements]
        failed += [(study.title, *each) for each in judged[: len(study.claims)] if each[2] != HOLDS]
        figure = destination.with_name(f"{destination.stem}-{_slug(study.title)}.svg")
        if max(len(curve[0]) for each in curves.values() for curve in each.values()) > 1:
            figure.write_text(learning_curves(curves, _named(study.measure)) + "\n", encoding="utf-8")
        tables = [destination.with_name(name).read_text(encoding="utf-8") for name in study.tables]
        sections.append(_section(study, facts, every, judged, figure.name, tables))
    lines = [
        f"# {wanted.title}",
        "",
        f"Written by `{command}`. Means ± half the 95% interval over the seeds (Student's t); differences are paired "
        "by seed; mean: area under the learning curve over its width; below another arm: share of all rounds after the "
        f"first, over the seeds. Every run's curve is in [{kept.name}]({kept.name}).",
        "",
        wanted.introduction.strip(),
        "",
        "## What does not reproduce",
        "",
        "Claims whose whole interval is not on their side of 0.",
        "",
        *table_lines(["study", "the paper", "here", ""], [list(each) for each in failed]),
    ]
    text = "\n".join([*lines, *sections])
    destination.write_text(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n", encoding="utf-8")
    kept.write_text(json.dumps(measured, separators=(",", ":")) + "\n", encoding="utf-8")
    return destination


HOLDS, OPPOSITE, OPEN = "holds", "the opposite", "not told apart"


def _measured(folder: Path, measures: Sequence[str]) -> dict[str, Any]:
    arms = arms_of([read_run(path) for path in run_directories(folder)])
    runs = [run for group in arms.values() for run in group]
    unfinished = [f"{run.directory}: {run.state}" for run in runs if run.state != "finished"]
    if unfinished:
        raise RunError("results want finished runs; the command that made them continues them:\n" + _listed(unfinished))
    recipe = runs[0].recipe
    measured = [name for name in measures if all(run.curve(name)[1] for run in runs)]
    return {
        "model": recipe["model"]["name"],
        "pool": recipe["pool"]["source"],
        "seeds": sorted({run.seed for run in runs}),
        "curves": {measure: curves_of(arms, measure) for measure in measured},
    }


def _by_seed(stored: Mapping[str, Mapping[Any, Any]]) -> Curves:
    """JSON has no numbers as keys."""
    return {arm: {int(seed): (curve[0], curve[1]) for seed, curve in each.items()} for arm, each in stored.items()}


def _value(curve: tuple[list[int], list[float]], at: str) -> float:
    return curve[1][-1] if at == "end" else area(*curve)


def _judge(curves: Curves, claim: Claim, at: str) -> tuple[str, str]:
    """(the difference, what it says of the claim)."""
    seeds = sorted(curves[claim.one].keys() & curves[claim.other].keys())
    one, other = ([_value(curves[arm][seed], at) for seed in seeds] for arm in (claim.one, claim.other))
    found = paired(one, other)
    low, high = found.mean - found.half, found.mean + found.half
    low, high = (low, high) if claim.above else (-high, -low)
    return found.signed(), HOLDS if low > 0 else OPPOSITE if high < 0 else OPEN


def _named(measure: str) -> str:
    step, _, name = measure.rpartition(".")
    name = name.replace("_f1", " F1").replace("_", " ")
    return f"{name} of queries" if step == "label" else name


def _section(
    study: Study,
    facts: Mapping[str, Any],
    every: Mapping[str, Curves],
    judged: Sequence[tuple[str, str, str]],
    figure: str,
    tables: Sequence[str],
) -> str:
    curves = every[study.measure]
    table = comparison(curves, study.against)
    versus = f"against {study.against}"
    header = ["arm", f"{_named(study.measure)} after {table['labels'][-1]} labels"]
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
        for arm in every[measure]:
            others.append([_named(measure), arm, *_ends(every[measure], arm, study.against)])
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
        *([f"![learning curves]({figure})", ""] if several else []),
        *table_lines(header, rows),
        "",
        *table_lines(["besides", "arm", "at the end", versus], others),
        "",
        *table_lines(["the paper", *here], [list(each) for each in judged[: len(study.claims)]]),
        "",
        *table_lines(["asked besides", *here], [list(each) for each in judged[len(study.claims) :]]),
        "",
        *(f"![{Path(name).stem}]({name})\n" for name in study.pictures),
        *(f"{each.strip()}\n" for each in tables),
        study.remarks.strip(),
    ]
    return "\n".join(lines)


def _ends(curves: Curves, arm: str, against: str) -> list[str]:
    """[mean at the end, difference against another arm, paired by seed], in words."""
    mine = {seed: _value(curve, "end") for seed, curve in curves[arm].items()}
    other = {seed: _value(curve, "end") for seed, curve in curves.get(against, {}).items()}
    shared = sorted(mine.keys() & other.keys()) if arm != against else []
    difference = paired([mine[s] for s in shared], [other[s] for s in shared]).signed() if shared else ""
    return [str(interval(list(mine.values()))), difference]


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
