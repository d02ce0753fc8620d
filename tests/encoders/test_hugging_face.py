"""Encoders from Hugging Face against the packages' own forward passes, and errors of checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.encoders import tiny
from xal.encoders import Texts
from xal.encoders.hugging_face import SentenceTransformersEncoder, TransformersEncoder, TransformersImageEncoder
from xal.errors import DataError

pytest.importorskip("transformers")
TEXTS = ["the film", "a good good film the plot", "bad", "the fine plot"]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 28, 28), np.uint8)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_of_texts_are_pooled_tokens(tmp_path: Path, pooling: str) -> None:
    """Reference: each text alone, so without padding, through transformers itself."""
    import transformers

    folder = tiny.bert(tmp_path / "bert")
    tokenizer, network = (kind.from_pretrained(folder) for kind in (transformers.AutoTokenizer, transformers.AutoModel))
    states = [network.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].detach() for text in TEXTS]
    expected = [state[0] if pooling == "cls" else state.mean(dim=0) for state in states]
    encoding = TransformersEncoder(checkpoint=folder, pooling=pooling).load({})
    np.testing.assert_allclose(encoding.vectors(TEXTS), np.stack(expected), rtol=1e-4, atol=1e-5)
    left = encoding.coalitions(Texts(["the film"]))(np.array([0]), np.array([[False, True]]))
    np.testing.assert_allclose(left, encoding.vectors(["film"]), atol=1e-5)


def test_long_texts_are_cut(tmp_path: Path) -> None:
    encoding = TransformersEncoder(checkpoint=tiny.bert(tmp_path), max_tokens=8).load({})
    long, cut = encoding.vectors(["good " * 100, "good " * 6])
    np.testing.assert_allclose(long, cut, atol=1e-5)


def test_sentence_transformers_with_a_folder(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    network = package.SentenceTransformer(tiny.bert(tmp_path / "bert"), device="cpu")  # with mean pooling
    network.save(str(tmp_path / "sentences"))
    encoder = SentenceTransformersEncoder(checkpoint=str(tmp_path / "sentences"))
    found = encoder.load({}).vectors(TEXTS)
    np.testing.assert_allclose(found, network.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    assert encoder.download is None and len(encoder.weights_digest) == 16


@pytest.mark.parametrize("kind", ["Dinov2", "ViT", "CLIP"])
def test_vectors_of_images(tmp_path: Path, kind: str) -> None:
    """Reference: transformers' own network, on images normalised by hand as its preprocessor_config.json says."""
    import transformers

    folder = tiny.vision(tmp_path, kind)
    encoder = TransformersImageEncoder(checkpoint=folder)
    assert encoder.input_shape == (3, 28, 28)
    mean, std = (torch.tensor(values)[:, None, None] for values in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    pixels = (torch.from_numpy(IMAGES) / 255 - mean) / std
    network = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        if kind == "CLIP":
            vision = network.vision_model(pixel_values=pixels)
            expected = network.visual_projection(vision.pooler_output)
        else:
            expected = network(pixel_values=pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(encoder.load({}).vectors(IMAGES), expected, rtol=1e-3, atol=1e-4)


def test_weights_are_part_of_what_vectors_depend_on(tmp_path: Path) -> None:
    one, other = (TransformersEncoder(checkpoint=tiny.bert(tmp_path / str(seed), seed)) for seed in (0, 1))
    assert one.weights_digest != other.weights_digest


def test_checkpoints_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"encoder.checkpoint: no folder './absent'"):
        TransformersEncoder(checkpoint="./absent").load({})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded .* expected a folder with config.json"):
        TransformersEncoder(checkpoint=str(tmp_path / "empty")).load({})
    folder = Path(tiny.bert(tmp_path / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pickled weights \(pytorch_model.bin\).*convert them to model.safetensors"):
        TransformersEncoder(checkpoint=str(folder)).load({})
    folder = Path(tiny.bert(tmp_path / "deeper"))
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(DataError, match=r"lacks 16 weights of a BertModel.*encoder\.layer\.2"):
        TransformersEncoder(checkpoint=str(folder)).load({})
    (folder / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(DataError, match="cannot be loaded"):
        TransformersEncoder(checkpoint=str(folder)).load({})


def test_what_is_not_here_is_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TransformersEncoder(checkpoint="intfloat/e5-tiny-absent")
    assert encoder.download is not None and "intfloat/e5-tiny-absent from huggingface.co" in encoder.download
    import transformers

    def refuse(*_args, **_settings):
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(DataError, match="couldn't connect .*without a network, download it elsewhere"):
        encoder.load({})
