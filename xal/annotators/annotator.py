"""Base class of annotators: they label a batch and, if the recipe has a feedback, correct its explanations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from xal.core.registry import Component
from xal.core.rng import HashRng
from xal.data.label_space import LabelSpace
from xal.data.pool import Pool
from xal.feedback import Feedback
from xal.store.artefacts import explanations_in
from xal.store.directory import step_folder
from xal.store.ledger import Queried
from xal.types import Correction, Explanations, Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """A batch to annotate, and what an annotator may use for it."""

    directory: Path
    round: int
    items: Sequence[Queried]
    pool: Pool
    shape: Shape
    label_space: LabelSpace
    rng: HashRng = field(default_factory=lambda: HashRng(0))
    feedback: Feedback | None = None
    """Says which corrections to ask for; None: none."""

    def explanations(self) -> dict[str, Explanations]:
        """The explanations of the queried items, by id; {} if the query step wrote none."""
        return explanations_in(self.artefact)

    @property
    def artefact(self) -> Path:
        """The folder in which the query step wrote payloads and explanations."""
        return self.directory / step_folder(self.round, "query")


@dataclass(frozen=True, kw_only=True)
class Annotator(Component, ABC, family="annotator"):
    """Base: labels batches and corrects explanations."""

    simulated: ClassVar[bool] = False
    """Whether it answers at once from the pool's own columns, as the trials of `xal tune` need."""
    uses_relevance: ClassVar[bool] = False
    """Whether it corrects explanations by the pool's relevance column."""

    @abstractmethod
    def annotate(self, request: Request) -> Mapping[str, str]:
        """The labels available now, by id; the campaign waits for the others."""

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        """Corrections of the items with these labels, by id; by default none."""
        return {}

    def problems(self, pool: Pool, feedback: Feedback | None, *, explains_concepts: bool) -> list[str]:
        """Problems that would keep it from answering for this pool and feedback; checked before the campaign starts."""
        return []
