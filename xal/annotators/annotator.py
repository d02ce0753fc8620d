"""The family of annotators: who labels a batch and, where the recipe has feedback, corrects its explanations."""

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
    """A batch to annotate."""

    directory: Path
    round: int
    items: Sequence[Queried]
    pool: Pool
    shape: Shape
    label_space: LabelSpace
    rng: HashRng = field(default_factory=lambda: HashRng(0))
    feedback: Feedback | None = None
    """What asks for corrections; None: nothing does."""

    def explanations(self) -> dict[str, Explanations]:
        """By id, where the query step left any."""
        return explanations_in(self.artefact)

    @property
    def artefact(self) -> Path:
        """Where the query step left payloads and explanations."""
        return self.directory / step_folder(self.round, "query")


@dataclass(frozen=True, kw_only=True)
class Annotator(Component, ABC, family="annotator"):
    """Base of the annotators."""

    simulated: ClassVar[bool] = False
    """Whether it answers at once, from what the pool knows: what a search can ask."""
    knows_relevance: ClassVar[bool] = False
    """Whether it corrects explanations by what the pool says is relevant."""

    @abstractmethod
    def annotate(self, request: Request) -> Mapping[str, str]:
        """Labels by id, as many as there are now; the campaign waits for the others."""

    def correct(self, request: Request, labels: Mapping[str, str]) -> Mapping[str, Correction]:
        """Corrections by id of the items with these labels; by default none."""
        return {}

    def problems(self, pool: Pool, feedback: Feedback | None, *, explains_concepts: bool) -> list[str]:
        """What would keep it from answering for this pool and feedback; found before the campaign begins."""
        return []
