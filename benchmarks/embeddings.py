"""Kept embeddings: computing them, and a round on a million of them.

    python benchmarks/embeddings.py [--json FILE] [--work FOLDER] [--only embed,round,stream,peak] [--device cpu]
                                    [--rows 1000000] [--images 100000]

embed: the 300 Imagenette photos of the data folder through a frozen ResNet-50, on Ray, without the start of its actors,
and by a bare torch loop over the same batches, decoded in advance: images a second of the one divided by those of the
other [embed_vs_bare]. With --device cuda, one GPU does both.
round: train a logistic regression on 1,000 labels and query the 1,000 items of smallest margin of a million vectors of
width 384, on Ray, warm [round_1m_s], and the same with plain numpy over the same files: the same training, then load,
multiply, sigmoids, margin, top 1,000 [round_vs_numpy]. [driver_growth_mb] is what the driver's peak memory grows by
after the first round.
stream: train a small convnet for two epochs on 5,000 generated images of 224 px, decoding included, with images kept in
a file and in memory: images a second of the one divided by those of the other [stream_vs_memory]; the weights must be
equal. peak: the same for one epoch on 100,000 images, 15 GB decoded, in a process of its own: the peak of its memory
[train_peak_mb] (with 16 GB of disk in TMPDIR).
"""

import io
import math
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from kept_vectors import WIDTH, Made
from photos import PhotoEncoder, load_photos
from PIL import Image
from table import arguments, show, write

from xal.core.rng import HashRng
from xal.core.threads import threads
from xal.data.build.writer import PoolWriter
from xal.data.embeddings import Embeddings, encoder_folder
from xal.data.images import encode_png
from xal.data.pool import Pool
from xal.engine import RayEngine
from xal.engine.coordinator import Coordinator
from xal.engine.embedding import digest_of, embed_pool
from xal.engine.tasks import ModelRef
from xal.engine.training_job import TrainJob
from xal.models.model import Weights
from xal.models.sklearn.logistic_regression import LogisticRegression
from xal.models.torch.convnet import Convnet
from xal.models.train_settings import TrainSettings
from xal.store.artefacts import read_weights, write_items, write_parts
from xal.strategies.margin import Margin

SHAPE, CLASSES, LABELLED, KEEP, PHOTOS = (3, 224, 224), 10, 1000, 1000, 300
PARTS = ("embed", "round", "stream", "peak")


def embed(folder: Path, device: str) -> dict[str, float]:
    """Images a second on Ray and in a bare loop."""
    images = load_photos(PHOTOS)[0].numpy()
    writer = PoolWriter(folder / "photos.parquet", "image", labelled=False)
    for number, image in enumerate(images):
        writer.add(f"photo-{number}", encode_png(image))
    writer.close([], 3)
    pool, gpu, batch = Pool.open(folder / "photos.parquet"), device != "cpu", 32
    engine = RayEngine(batch=batch, actors=1 if gpu else 2, actor_gpus=1 if gpu else 0, object_store_mb=500)
    encoder, rates = PhotoEncoder(), {}
    backbone = encoder.load({}).to(device)
    batches = [images[start : start + batch] for start in range(0, len(images), batch)]

    def bare() -> float:
        with threads(1 if gpu else 2):
            started = perf_counter()
            for part in batches:
                backbone.encode(part)
            return PHOTOS / (perf_counter() - started)

    bare()
    before = bare()
    with engine.open() as session:
        embed_pool(session, pool, encoder, folder / "warm", SHAPE)
        started = perf_counter()
        embed_pool(session, pool, encoder, folder / "store", SHAPE)
        rates["xal"] = PHOTOS / (perf_counter() - started)
    rates["bare"] = (before + bare()) / 2
    show(
        f"{PHOTOS} photos of 224 pixels, ResNet-50, {device}",
        ["", "images/s"],
        [["xal, Ray", rates["xal"]], ["bare loop", rates["bare"]]],
    )
    return {"embed_vs_bare": rates["xal"] / rates["bare"]}


def million(folder: Path, rows: int) -> tuple[Pool, np.ndarray]:
    """A pool of short texts with made-up vectors of ten overlapping classes, which it keeps; and the classes."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, rows)
    (folder / "pool").mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(rows), 16)):
        table = pa.table({"id": [f"item-{row:08d}" for row in part.tolist()], "text": ["text"] * len(part)})
        pq.write_table(table, folder / "pool" / f"part-{number:02d}.parquet", row_group_size=16384)
    pool = Pool.open(folder / "pool")
    kept = Embeddings.of(pool, encoder_folder(folder / "store", digest_of(Made()), "float32"), WIDTH)
    means = generator.normal(size=(CLASSES, WIDTH)).astype(np.float32) * 0.1
    for first, stop in kept.chunks():
        noise = generator.standard_normal((stop - first, WIDTH), np.float32)
        kept.write(first, noise + means[labels[first:stop]])
    kept.finish()
    return pool, labels


def numpy_round(kept: Embeddings, weights: np.ndarray, intercepts: np.ndarray, slopes: tuple[Any, Any]) -> list[int]:
    """Rows of the smallest margins, by plain numpy over the files."""
    best = np.empty(0), np.empty(0, np.int64)
    a, b = slopes
    for first, stop in kept.chunks():
        outputs = np.load(kept._path(first)) @ weights.T + intercepts
        sigmoids = 1 / (1 + np.exp(a * outputs + b))
        top = np.partition(sigmoids / sigmoids.sum(axis=1, keepdims=True), -2, axis=1)
        scores = np.concatenate([best[0], top[:, -2] - top[:, -1]])
        rows = np.concatenate([best[1], np.arange(first, stop)])
        chosen = np.argpartition(-scores, KEEP - 1)[:KEEP] if len(scores) > KEEP else np.arange(len(scores))
        best = scores[chosen], rows[chosen]
    return sorted(best[1].tolist())


def head_job(folder: Path, pool: Pool, chosen: np.ndarray, labels: np.ndarray) -> TrainJob:
    """Training of a logistic regression on the kept vectors of the chosen rows."""
    table = pool.read(chosen, ["id", "text"]).append_column("row", pa.array(chosen))
    write_items(folder / "items.parquet", table)
    return TrainJob(
        model=LogisticRegression(encoder=Made()),
        shape=(),
        n_classes=CLASSES,
        item_files=(folder / "items.parquet",),
        labels=dict(zip(table["id"].to_pylist(), labels[chosen].tolist(), strict=True)),
        holdout=frozenset(),
        settings=TrainSettings(threads=2),
        seed=0,
        embeddings=pool.embeddings,
    )


def round_on_kept(folder: Path, rows: int) -> dict[str, float]:
    """A round on Ray and by numpy."""
    pool, labels = million(folder, rows)
    chosen = np.sort(np.random.default_rng(1).choice(rows, LABELLED, replace=False))
    times: dict[str, list[float]] = {"train": [], "query": [], "numpy": []}
    with RayEngine(actors=2, object_store_mb=500).open() as session:
        pool = embed_pool(session, pool, Made(), folder / "store", ())
        job = head_job(folder, pool, chosen, labels)
        model, ids = job.model, list(job.labels)
        peak = 0
        for repeat in range(3):
            started = perf_counter()
            session.train(job, folder / "weights.safetensors")
            trained = perf_counter()
            ref = ModelRef(
                model=model, weights=folder / "weights.safetensors", version=str(repeat), shape=(), n_classes=CLASSES
            )
            coordinator = Coordinator(session=session, pool=pool, shape=(), model=ref)
            query = coordinator.query(Margin(), KEEP, HashRng(0), labelled=ids, labelled_rows=chosen)
            ended = perf_counter()
            growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            if repeat:
                times["train"].append(trained - started)
                times["query"].append(ended - trained)
            else:
                peak = growth
    arrays = read_weights(folder / "weights.safetensors")
    weights = Weights(arrays=arrays, shape=(), n_classes=CLASSES)
    linear = model.classifier(weights).linear()
    assert linear is not None
    slopes = arrays["platt.a"], arrays["platt.b"]
    kept: Embeddings = pool.embeddings
    for repeat in range(3):
        started = perf_counter()
        theirs = numpy_round(kept, linear[0].astype(np.float32), linear[1].astype(np.float32), slopes)
        if repeat:
            times["numpy"].append(perf_counter() - started)
    same = len(set(query.items.rows.tolist()) & set(theirs))
    train, ours, plain = (min(times[name]) for name in ("train", "query", "numpy"))
    show(
        f"a round over {rows:,} x {WIDTH} kept vectors, {LABELLED} labels, top {KEEP} by margin",
        ["", "train s", "query s", "together s"],
        [["xal, Ray", train, ours, train + ours], ["numpy loop", train, plain, train + plain]],
    )
    print(f"{same} of {KEEP} items are the same; numpy does not leave out the {LABELLED} labelled ones")
    return {
        "round_1m_s": train + ours,
        "round_vs_numpy": (train + ours) / (train + plain),
        "driver_growth_mb": growth - peak,
    }


def images_to_train(folder: Path, number: int) -> TrainJob:
    """A job on generated images: a smooth random background with a disc, whose colour is the class."""
    generator, size = np.random.default_rng(0), SHAPE[1]
    y, x = np.mgrid[:size, :size]
    labels = generator.integers(0, CLASSES, number)

    def parts() -> Iterator[pa.Table]:
        for rows in np.array_split(np.arange(number), max(number // 500, 1)):
            payloads = []
            for row in rows.tolist():
                coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
                image = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BILINEAR)).copy()
                cx, cy = generator.integers(40, size - 40, 2)
                image[(x - cx) ** 2 + (y - cy) ** 2 < 900] = 25 * labels[row]
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "JPEG", quality=90)
                payloads.append(buffer.getvalue())
            ids = pa.array([f"image-{row}" for row in rows.tolist()])
            yield pa.table({"id": ids, "image": payloads, "row": rows})

    write_parts(folder / "images.parquet", parts())
    return TrainJob(
        model=Convnet(filters=4, hidden=16),
        shape=SHAPE,
        n_classes=CLASSES,
        item_files=(folder / "images.parquet",),
        labels={f"image-{row}": int(label) for row, label in enumerate(labels)},
        holdout=frozenset(),
        settings=TrainSettings(epochs=2, batch_size=64, threads=2),
        seed=0,
    )


def stream(folder: Path, number: int = 5000) -> dict[str, float]:
    """Images a second from a file and from memory."""
    job, rates = images_to_train(folder, number), {"file": 0.0, "memory": 0.0}
    weights = {}
    for name in ("memory", "file") * 2:
        started = perf_counter()
        replace(job, memory_mb=1 if name == "file" else 10**6).run(folder / f"{name}.safetensors", device="cpu")
        rates[name] = max(rates[name], 2 * number / (perf_counter() - started))
        weights[name] = read_weights(folder / f"{name}.safetensors")
    assert all(np.array_equal(weights["file"][key], weights["memory"][key]) for key in weights["file"])
    rows = [["images in a file", rates["file"]], ["in memory", rates["memory"]]]
    show(f"training on {number:,} images of 224 px, two epochs, decoding included", ["", "images/s"], rows)
    return {"stream_vs_memory": rates["file"] / rates["memory"]}


def peak(folder: Path, number: int) -> dict[str, float]:
    """Peak memory of a process that trains for an epoch on images that it keeps in a file."""
    job = images_to_train(folder, number)
    started = perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        once = replace(job, settings=replace(job.settings, epochs=1))
        megabytes = process.submit(train_here, once, folder / "peak.safetensors").result()
    seconds = perf_counter() - started
    title = f"training on {number:,} images of 224 px, {number * math.prod(SHAPE) / 1e9:.1f} GB decoded, an epoch"
    show(title, ["peak MB", "s"], [[megabytes, seconds]])
    return {"train_peak_mb": megabytes}


def train_here(job: TrainJob, weights: Path) -> float:
    """Run a job; the peak of this process's memory in MB."""
    job.run(weights, device="cpu")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(given: Sequence[str] | None = None) -> None:
    """Run the chosen parts."""
    parser = arguments(__doc__)
    parser.add_argument("--work", type=Path, help="folder for the pools; by default temporary")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--images", type=int, default=10**5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(given)
    run: dict[str, Callable[[Path], dict[str, float]]] = {
        "embed": lambda place: embed(place, options.device),
        "round": lambda place: round_on_kept(place, options.rows),
        "stream": stream,
        "peak": lambda place: peak(place, options.images),
    }
    measures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        for part in options.only.split(","):
            place = Path(folder) / part
            place.mkdir()
            measures |= run[part](place)
    write(options.json, measures)


if __name__ == "__main__":
    main()
