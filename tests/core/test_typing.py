"""Explainers and models run where only torch, torchvision, numpy and scipy are installed: a bare GPU machine."""

import subprocess
import sys
from pathlib import Path

BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import torch
from xal.explainers import Ebano
from xal.models import TorchClassifier
from xal.models.torch.convnet import Convnet

model = Convnet(filters=4, hidden=8)
classifier = TorchClassifier(model, model.create((1, 16, 16), 3, seed=0))
explained = Ebano(k_max=3).explain(classifier, torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8))
Ebano(k_max=3).check(explained)
print("explained", len(explained), sorted({absent} & {{name.split(".")[0] for name in sys.modules}}))
"""
ABSENT = {
    "jaxtyping", "pydantic", "pandas", "pyarrow", "sklearn", "faiss", "safetensors", "ray", "rich", "yaml",
    "matplotlib", "sqlalchemy", "typer", "jinja2", "PIL", "skimage", "shap", "captum", "lime",
}  # fmt: skip


def test_explains_without_the_other_packages() -> None:
    code = BARE.format(absent=ABSENT)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["explained", "2", "[]"]
