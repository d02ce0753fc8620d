"""Tiny checkpoints with random weights, made here because tests have no network."""

from pathlib import Path

import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "fine", "film", "plot", "the", "a"]


def bert(folder: Path, seed: int = 0, labels: int = 0) -> str:
    """A BERT of two layers that knows WORDS, with its tokenizer; with a classification head if labels > 0."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    settings = transformers.BertConfig(
        vocab_size=len(WORDS), max_position_embeddings=64, num_labels=labels or 2, **sizes
    )
    torch.manual_seed(seed)
    kind = transformers.BertForSequenceClassification if labels else transformers.BertModel
    kind(settings).save_pretrained(folder)
    return str(folder)


def vision(folder: Path, kind: str = "Dinov2") -> str:
    """A vision network of images of 28 px: `Dinov2`, `ViT`, or `CLIP` (with its text tower)."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tower = {"image_size": 28, "patch_size": 14, **sizes}
    settings = (
        transformers.CLIPConfig(vision_config=tower, text_config=sizes, projection_dim=12)
        if kind == "CLIP"
        else getattr(transformers, f"{kind}Config")(**tower)
    )
    getattr(transformers, f"{kind}Model")(settings).save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": 28, "width": 28}, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]
    ).save_pretrained(folder)
    return str(folder)
