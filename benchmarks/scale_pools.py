"""The pools of scale.py: shifted and rotated images of the demo pool, and standard normal vectors."""

import io
import multiprocessing
import os
import shutil
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

FILES, CLASSES, WIDTH = 8, 10, 64
SHAPE = (1, 28, 28)


def build_images(folder: Path, items: int) -> None:
    """Write shifted and rotated images of the demo pool, one file per job."""
    edges = np.linspace(0, items, FILES + 1).astype(int).tolist()
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        workers.starmap(_image_file, [(folder, n, a, b) for n, (a, b) in enumerate(pairwise(edges))])


def _image_file(folder: Path, number: int, start: int, stop: int) -> None:
    from xal.data.build.writer import PoolWriter
    from xal.data.images import decode
    from xal.datasets.demo import CLASSES as NAMES
    from xal.datasets.demo import demo_pool

    originals, _ = decode(demo_pool().read_span(0, 8000, ["image"])["image"].to_pylist(), SHAPE)
    generator = np.random.default_rng(number)
    writer = PoolWriter(folder / f"part-{number:03d}.parquet", "image", labelled=False)
    for row in range(start, stop):
        angle, x, y = generator.uniform(-25, 25), *generator.integers(-4, 5, 2).tolist()
        image = Image.fromarray(originals[generator.integers(len(originals)), 0])
        stream = io.BytesIO()
        image.rotate(angle, Image.Resampling.BILINEAR, translate=(x, y)).save(stream, "PNG")
        writer.add(f"image-{row:08d}", stream.getvalue())
    writer.close(NAMES, channels=1)


def build_vectors(folder: Path, items: int) -> None:
    """Write standard normal vectors."""
    edges = np.linspace(0, items, 2 * FILES + 1).astype(int).tolist()
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        workers.starmap(_vector_file, [(folder, n, a, b) for n, (a, b) in enumerate(pairwise(edges))])


def _vector_file(folder: Path, number: int, start: int, stop: int) -> None:
    from xal.data.build.writer import PoolWriter

    writer = PoolWriter(folder / f"part-{number:03d}.parquet", "features", labelled=False, width=WIDTH)
    generator = np.random.default_rng(number)
    for row in range(start, stop):
        if (row - start) % 10_000 == 0:
            block = generator.standard_normal((10_000, WIDTH), np.float32)
        writer.add(f"vector-{row:09d}", block[(row - start) % 10_000].tobytes())
    writer.close([f"class-{n}" for n in range(CLASSES)])


def pools(folder: Path, kind: str, items: int) -> dict[str, Path]:
    """The folders of the whole pool, a quarter of it, and a small one for the warm-up; built if missing."""
    folders = {name: folder / f"{kind}-{items}" / name for name in ("whole", "quarter", "warm")}
    if not (folders["warm"] / "part-000.parquet").exists():
        shutil.rmtree(folder / f"{kind}-{items}", ignore_errors=True)
        for path in folders.values():
            path.mkdir(parents=True)
        started = perf_counter()
        build = build_images if kind == "images" else build_vectors
        build(folders["whole"], items)
        files = sorted(folders["whole"].glob("*.parquet"))
        for file in files[: len(files) // 4]:
            os.link(file, folders["quarter"] / file.name)
        build(folders["warm"], 8192)
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"built {items:,} {kind}, {size:,.0f} MB in {perf_counter() - started:.0f} s")
    return folders
