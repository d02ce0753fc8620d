# %% [markdown]
# # A folder of photos
#
# The pictures are drawn here, so that this notebook needs no data: squares, circles and triangles on a noisy
# background. Replace `folder` by a folder of yours.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import xal

CLASSES = ["circle", "square", "triangle"]
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
generator = np.random.default_rng(0)


def draw(shape: str) -> Image.Image:
    """A grey image of 24 x 24 pixels."""
    image = Image.fromarray(generator.integers(0, 60, (24, 24), np.uint8))
    x, y, size = (int(number) for number in generator.integers((2, 2, 9), (10, 10, 13)))
    box, pen = (x, y, x + size, y + size), ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=230)
    elif shape == "square":
        pen.rectangle(box, fill=230)
    else:
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=230)
    return image


true = {}
for number in range(150):
    path = folder / f"{number:03d}.png"
    true[path] = CLASSES[number % 3]
    draw(true[path]).save(path)
paths = sorted(folder.glob("*.png"))
print(f"{len(paths)} images in {folder.name}")

# %% [markdown]
# ## Ask and tell
#
# The learner takes paths, PIL images or arrays. Without a model it trains a small convnet, and without a strategy it
# queries by EBAnO's explanations.

# %%
learner = xal.Learner(
    paths,
    model={"name": "convnet", "filters": 8, "hidden": 32},
    strategy={"name": "ebano_uncertainty", "candidates": 40, "threshold": 0.0, "limit": 10},
    classes=CLASSES,
    train={"epochs": 20, "lr": 0.003, "batch_size": 16},
)
for _ in range(3):
    batch = learner.ask(20)
    learner.tell(batch, [true[paths[position]] for position in batch.positions])

# %% [markdown]
# In a notebook `show()` draws the batch with an explanation of each prediction; elsewhere it prints a line an item.

# %%
batch.show()

# %%
predicted = learner.predict(paths)
accuracy = np.mean([name == true[path] for name, path in zip(predicted, paths, strict=True)])
print(f"accuracy on all {len(paths)} images after {len(learner.run.queried)} labels: {accuracy:.2f}")

# %% [markdown]
# ## Why
#
# EBAnO divides an image into interpretable features. nPIR says how much a feature changes the class's probability.

# %%
explanations = learner.explain(paths[:3])
for number in range(len(explanations)):
    name = CLASSES[explanations.explained_class[number]]
    npir = explanations.npir[number, : explanations.n_features[number]]
    print(f"{paths[number].name} is a {name}: nPIR of its features {np.round(npir, 2)}")
scratch.cleanup()
