"""Transformers of texts from Hugging Face, fine-tuned as a whole by the same loop as every torch model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from xal.core._typing import Field
from xal.core.extras import require
from xal.encoders import Texts
from xal.encoders.encoder import Masks
from xal.encoders.hugging_face import check_loaded, loading, quiet, to_download
from xal.models.model import Placement, Weights
from xal.models.torch.classifier import TorchClassifier
from xal.models.torch.model import TorchModel
from xal.models.training_data import Fitted, TrainContext, TrainingData
from xal.types import Kind, Output, Outputs, Rows, Shape

FIELD = "model.checkpoint"
BATCH = 64  # texts a forward pass


@dataclass(frozen=True, kw_only=True)
class Transformers(TorchModel, name="transformers"):
    """A transformer with a new classification head, such as BERT or ModernBERT; all its weights are trained."""

    streams: ClassVar[bool] = False

    checkpoint: str
    """A folder that holds network and tokenizer, or a name on huggingface.co, from where they are downloaded."""
    max_tokens: Annotated[int, Field(ge=8)] = 128
    """Longer texts are cut."""
    pretrained: bool = True
    """Whether training starts from the checkpoint's weights, rather than random ones."""

    @property
    def kind(self) -> Kind:
        """`text`."""
        return "text"

    @property
    def default_explainer(self) -> str:
        """`shap_partition`."""
        return "shap_partition"

    @property
    def provides(self) -> frozenset[str]:
        """What the last linear layer gives; tokens are numbers of words, which have no gradient."""
        return frozenset({"contrastive", "sampled_probabilities"})

    @property
    def download(self) -> str | None:
        """The network, if it is neither a folder nor in Hugging Face's cache."""
        return to_download(self.checkpoint)

    def untrained(self) -> Transformers:
        """With random weights."""
        return replace(self, pretrained=False)

    def build(self, shape: Shape, n_classes: int) -> nn.Module:
        """Tokens (b, m) -> logits (b, n_classes). Raises DataError for a checkpoint that cannot be loaded."""
        package = require("transformers", "transformers", "model 'transformers'")
        with loading(self.checkpoint, FIELD), quiet(package):
            settings = package.AutoConfig.from_pretrained(self.checkpoint, num_labels=n_classes)
            kind = package.AutoModelForSequenceClassification
            if self.pretrained:
                network, loaded = kind.from_pretrained(
                    self.checkpoint,
                    config=settings,
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,  # of a head for other classes
                    output_loading_info=True,
                    dtype=torch.float32,
                )
            else:
                network, loaded = kind.from_config(settings, dtype=torch.float32), None
        if loaded is not None:
            check_loaded(self.checkpoint, network, loaded, FIELD)
        return _Logits(network, _tokenizer(self.checkpoint).pad_token_id or 0)

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Tokens as they are."""
        return inputs

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """(b, m) token numbers of texts, padded to the longest."""
        tokenizer = _tokenizer(self.checkpoint)
        given = [text or " " for text in texts]
        found = tokenizer(given, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="np")
        return torch.from_numpy(np.asarray(found["input_ids"], np.int64))

    def fit(self, data: TrainingData, context: TrainContext) -> Fitted:
        """As the base class, on the tokens of the texts."""

        def tokenized(part: TrainingData) -> TrainingData:
            return replace(part, inputs=self.tokens(list(part.inputs)).numpy())

        validation = None if data.validation is None else tokenized(data.validation)
        return super().fit(replace(tokenized(data), validation=validation), context)

    def classifier(self, weights: Weights, placement: Placement | None = None) -> TextClassifier:
        """The network with its weights, in evaluation mode."""
        placement = placement or Placement()
        module = self.untrained().create(weights.shape, weights.n_classes, seed=0)
        module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.arrays.items()})
        return TextClassifier(self, module, placement.device, precision=placement.precision)


class _Logits(nn.Module):
    """A network of token numbers alone; padding is not attended to."""

    def __init__(self, network: Any, padding: int) -> None:
        super().__init__()
        self.network, self.padding = network, padding

    def forward(self, tokens: Tensor) -> Tensor:
        """(b, m) -> (b, c); columns that all texts pad are cut."""
        attended = tokens != self.padding
        longest = int(attended.sum(dim=1).max()) if len(tokens) else 0
        if bool(attended[:, :longest].any(dim=1).all()) and not bool(attended[:, longest:].any()):
            tokens, attended = tokens[:, :longest], attended[:, :longest]
        return self.network(input_ids=tokens, attention_mask=attended.long()).logits  # type: ignore[no-any-return]


class TextClassifier(TorchClassifier):
    """A trained transformer: predicts texts, and texts with only some of their words."""

    model: Transformers

    def logits(self, inputs: Any) -> Tensor:
        """(b, c) logits of texts; those of about one length share a forward pass."""
        return self._batched(inputs, super().logits)

    def embed(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """((b, c) probabilities, (b, d) inputs of the last linear layer)."""
        embeddings: list[Tensor] = []
        linear = [layer for layer in self.module.modules() if isinstance(layer, nn.Linear)][-1]
        hook = linear.register_forward_pre_hook(lambda _layer, given: embeddings.append(given[0].flatten(1)))
        try:
            joined = self._batched(inputs, lambda tokens: self._with(TorchClassifier.logits(self, tokens), embeddings))
        finally:
            hook.remove()
        width = embeddings[-1].shape[1]
        return torch.softmax(joined[:, :-width], dim=1), joined[:, -width:]

    @staticmethod
    def _with(logits: Tensor, embeddings: list[Tensor]) -> Tensor:
        return torch.cat([logits, embeddings[-1].to(logits.dtype)], dim=1)

    def masked_outputs(self, texts: Texts, output: Output) -> Callable[[Rows, Masks], Outputs]:
        """A function (items (n,), masks (n, m)) -> (n, c) outputs of texts with only the words that the masks keep."""

        def outputs(items: Rows, masks: Masks) -> Outputs:
            distinct, position = texts.distinct_left(items, masks)
            shown: Any = np.array(distinct, object)
            return np.asarray(self.outputs(shown, output).double().cpu().numpy()[position])

        return outputs

    def _batched(self, texts: Any, function: Callable[[Tensor], Tensor]) -> Tensor:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        parts = []
        for start in range(0, len(order), BATCH):
            tokens = self.model.tokens([texts[number] for number in order[start : start + BATCH]])
            with torch.no_grad():
                parts.append(function(tokens.to(self.device)))
        return torch.cat(parts)[torch.argsort(torch.tensor(order)).to(self.device)]


@lru_cache(maxsize=2)
def _tokenizer(checkpoint: str) -> Any:
    package = require("transformers", "transformers", "model 'transformers'")
    with loading(checkpoint, FIELD), quiet(package):
        return package.AutoTokenizer.from_pretrained(checkpoint)
