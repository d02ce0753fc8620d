"""torchvision's weights from every place they may come from."""

from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models as torchvision_models

from xal.errors import DataError, XalError
from xal.models.torch.torchvision import Torchvision

GREY, COLOUR, CLASSES = (1, 28, 28), (3, 64, 64), 5


def images(shape, b=4, seed=0):
    return torch.randint(0, 256, (b, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def same(one, other, but=()):
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one if key not in but)


class TestTorchvision:
    def state(self, classes=CLASSES):
        torch.manual_seed(11)
        return torchvision_models.resnet18(weights=None, num_classes=classes).state_dict()

    def save(self, folder, form, state):
        path = folder / ("weights.safetensors" if form == "safetensors" else "weights.pth")
        if form == "safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": state, "epoch": 3} if form == "checkpoint" else state, path)
        return str(path)

    def built(self, weights, classes=CLASSES, seed=0):
        return Torchvision(weights=weights).create(COLOUR, classes, seed=seed).state_dict()

    def test_normalises_as_torchvision_says(self):
        """Reference: the transforms that torchvision ships with its ImageNet weights."""
        transforms = torchvision_models.ResNet18_Weights.IMAGENET1K_V1.transforms()
        batch = images(COLOUR)
        mean, std = (torch.tensor(values)[:, None, None] for values in (transforms.mean, transforms.std))
        torch.testing.assert_close(Torchvision().preprocess(batch), (batch / 255 - mean) / std)

    @pytest.mark.parametrize("form", ["safetensors", "pth", "checkpoint"])
    def test_a_file_round_trips(self, tmp_path, form):
        state = self.state()
        assert same(self.built(self.save(tmp_path, form, state)), state)

    @pytest.mark.parametrize("form", ["safetensors", "pth"])
    def test_a_head_of_another_width_starts_anew(self, tmp_path, form):
        """The body is the file's, the head that of the same seed without a file."""
        state = self.state(classes=7)
        built = self.built(self.save(tmp_path, form, state), seed=5)
        head = ("fc.weight", "fc.bias")
        assert same(built, state, but=head)
        fresh = Torchvision().create(COLOUR, CLASSES, seed=5).state_dict()
        assert all(torch.equal(built[key], fresh[key]) for key in head)

    def test_a_download_is_torchvisions_own(self, monkeypatch):
        state = self.state(classes=1000)
        monkeypatch.setattr(torchvision_models.ResNet18_Weights, "get_state_dict", lambda *_, **__: state)
        assert same(self.built("IMAGENET1K_V1"), state, but=("fc.weight", "fc.bias"))

    def test_it_says_what_it_downloads(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        model = Torchvision(architecture="resnet18", weights="IMAGENET1K_V1")
        assert model.download == f"resnet18 IMAGENET1K_V1, 45 MB, to {tmp_path}/hub/checkpoints"
        (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
        (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"")
        assert model.download is None and Torchvision().download is None
        assert Torchvision(weights="mine.pth").download is None

    @pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("slow"), RuntimeError("invalid hash value")])
    def test_a_failed_download_says_what_to_do(self, monkeypatch, error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(torchvision_models.ResNet18_Weights, "get_state_dict", fail)
        with pytest.raises(DataError, match="download of resnet18 IMAGENET1K_V1 failed.*path"):
            self.built("IMAGENET1K_V1")

    @pytest.mark.parametrize("weights", ["absent.pth", "absent.safetensors", "folder/absent"])
    def test_a_missing_file(self, weights):
        with pytest.raises(DataError, match=f"no file '{weights}'"):
            self.built(weights)

    def test_an_unknown_name_lists_the_known(self):
        with pytest.raises(DataError, match="IMAGENET1K_V9.*IMAGENET1K_V1"):
            self.built("IMAGENET1K_V9")

    @pytest.mark.parametrize("form", ["safetensors", "pth"])
    def test_other_keys(self, tmp_path, form):
        state = {f"backbone.{key}": value for key, value in self.state().items()}
        with pytest.raises(DataError, match=r"keys missing.*unknown.*conv1\.weight"):
            self.built(self.save(tmp_path, form, state))

    def test_a_key_too_few(self, tmp_path):
        state = self.state()
        del state["layer1.0.bn1.weight"]
        with pytest.raises(DataError, match=r"1 keys missing, 0 unknown.*layer1\.0\.bn1\.weight"):
            self.built(self.save(tmp_path, "pth", state))

    def test_another_shape_below_the_head(self, tmp_path):
        state = self.state() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}
        with pytest.raises(DataError, match=r"conv1\.weight"):
            self.built(self.save(tmp_path, "pth", state))

    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_a_broken_file(self, tmp_path, suffix):
        path = tmp_path / f"weights.{suffix}"
        path.write_bytes(b"not weights at all")
        with pytest.raises(DataError, match=f"weights.{suffix}"):
            self.built(str(path))

    def test_a_file_that_holds_no_state(self, tmp_path):
        torch.save([torch.zeros(3)], tmp_path / "weights.pth")
        with pytest.raises(DataError, match="weights"):
            self.built(str(tmp_path / "weights.pth"))

    def test_a_file_with_code_is_not_run(self, tmp_path):
        torch.save({"conv1.weight": Payload(str(tmp_path / "ran"))}, tmp_path / "weights.pth")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which error is the next assertion
            self.built(str(tmp_path / "weights.pth"))
        assert not (tmp_path / "ran").exists()
        assert isinstance(caught.value, DataError)

    def test_grey_images_are_refused(self):
        with pytest.raises(XalError, match="3 channels, got 1"):
            Torchvision().build(GREY, CLASSES)


class Payload:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_untrained_asks_for_no_file():
    """For those who load other weights over it."""
    assert Torchvision(weights="absent.pth").untrained() == Torchvision()
