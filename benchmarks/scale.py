"""A million images and ten million vectors through the engine, on the cores of this machine.

    python benchmarks/scale.py [--json FILE] [--work FOLDER] [--only PART] [--markdown FILE] [--items 1000000]

It builds its own pools in FOLDER (a temporary one by default; kept and used again where named): Fashion-MNIST images
of the demo, shifted and rotated, in Parquet, and 64-d vectors.

images: the entropy of the convnet, top 1000, on Ray against a bare torch loop over the same files, one process a core
(pyarrow, Pillow, forward, entropy, top 1000; nothing else), both timed from warm processes, taking turns
[throughput_vs_bare]. The driver's peak memory [driver_growth_mb] and the peak of the object store [object_store_mb]
are of processes of their own, for a quarter of the pool and the whole [time_1m_over_250k].
ebano: EBAnO-Uncertainty on 2,000 candidates, pre-selected at random, by entropy, or as a diverse sample; then the same
candidates are explained once more on the serial engine, in one process, whose bytes read are counted by the kernel:
over the bytes of the pool [candidate_read_share].
vectors: the margin of a linear model.
costs: what an item takes of one core at each place, warm: reading and decoding, the forward, the driver; the same for a
photo of 224 pixels where the data folder has some; opening the pool. `--markdown docs/scaling.md` reckons with them.
"""

import argparse
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from reckoning import reckoning, unit_size
from safetensors.torch import load_file, save_file
from table import arguments, show, write

PARTS = ("images", "ebano", "vectors", "costs")
FILES, KEEP, CANDIDATES, CLASSES, WIDTH = 8, 1000, 2000, 10, 64
SHAPE = (1, 28, 28)


def build_images(folder: Path, items: int) -> None:
    """Shifted and rotated images of the demo pool, a file a job."""
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
    """Standard normal vectors."""
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


def weights_of(folder: Path, kind: str) -> Path:
    """A model of random weights: what it says does not matter here, only what it costs."""
    from xal.models.torch.convnet import Convnet
    from xal.models.torch.linear import Linear

    path = folder / f"{kind}.safetensors"
    model = (
        Convnet().create(SHAPE, CLASSES, seed=0)
        if kind == "images"
        else Linear().create((WIDTH, 1, 1), CLASSES, seed=0)
    )
    save_file(model.state_dict(), path)
    return path


def bare(start: Any, found: Any, files: list[Path], weights: Path) -> None:
    """What a careful user would write for one core: its files, batch by batch, the 1000 most uncertain."""
    from xal.models.torch.convnet import Convnet

    torch.set_num_threads(1)
    classifier = Convnet().build(SHAPE, CLASSES).eval()
    classifier.load_state_dict(load_file(weights))
    classifier = classifier.to(memory_format=torch.channels_last)
    classifier(torch.zeros(256, *SHAPE))
    start.wait()
    scores, ids = torch.zeros(0), np.empty(0, object)
    with torch.inference_mode():
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(256, columns=["id", "image"]):
                images = np.stack([np.asarray(Image.open(io.BytesIO(each.as_py()))) for each in batch["image"]])
                p = torch.softmax(classifier(torch.from_numpy(images[:, None]).float() / 255), dim=1)
                entropy = -(p * p.log()).nan_to_num().sum(1)
                scores = torch.cat([scores, entropy])
                ids = np.concatenate([ids, batch["id"].to_numpy(zero_copy_only=False)])
                if len(scores) > 20 * KEEP:
                    best = scores.topk(KEEP).indices
                    scores, ids = scores[best], ids[best.numpy()]
    best = scores.topk(KEEP).indices
    found.put((scores[best].numpy(), ids[best.numpy()]))


def run_bare(pool: Path, weights: Path) -> tuple[float, set[str]]:
    """(seconds, ids)."""
    context = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    files = sorted(pool.glob("*.parquet"))
    start, found = context.Barrier(cores + 1), context.Queue()
    processes = [context.Process(target=bare, args=(start, found, files[i::cores], weights)) for i in range(cores)]
    for process in processes:
        process.start()
    start.wait()
    started = perf_counter()
    parts = [found.get() for _ in processes]
    scores, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = ids[np.argsort(-scores, kind="stable")[:KEEP]]
    seconds = perf_counter() - started
    for process in processes:
        process.join()
    return seconds, set(best.tolist())


def child(options: argparse.Namespace) -> None:
    """One query in this process, which becomes the driver: prints its measures as JSON."""
    from xal.core.rng import HashRng
    from xal.data.pool import Pool
    from xal.engine import RayEngine, SerialEngine
    from xal.engine.coordinator import Coordinator
    from xal.engine.engine import Session
    from xal.engine.tasks import ModelRef
    from xal.explainers import Ebano
    from xal.models.torch.convnet import Convnet
    from xal.models.torch.linear import Linear
    from xal.strategies import Strategy

    kind, strategy, folder, weights = options.child
    images = kind == "images"
    ref = ModelRef(
        model=Convnet() if images else Linear(),
        weights=Path(weights),
        version="1",
        shape=SHAPE if images else (WIDTH, 1, 1),
        classes=CLASSES,
    )
    plan, keep = Strategy.named(strategy)(), KEEP
    if options.candidates:
        settings = {"candidates": CANDIDATES, "threshold": -2.0, "candidates_from": plan}
        plan, keep = Strategy.named("ebano_uncertainty")(**settings), CANDIDATES

    def coordinator(session: Session, on: Pool) -> Coordinator:
        return Coordinator(session=session, pool=on, shape=ref.shape, model=ref, explainer=Ebano())

    with RayEngine().open() as session:
        coordinator(session, Pool.open(Path(folder).parent / "warm")).query(
            Strategy.named("margin")(), keep, HashRng(0)
        )
        with ObjectStore() as store:
            started, used = perf_counter(), process_time()
            pool = Pool.open(folder)
            found = coordinator(session, pool).query(plan, keep, HashRng(0))
            seconds, used = perf_counter() - started, process_time() - used
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    measures = {
        "items": len(pool),
        "seconds": seconds,
        "driver_cpu_s": used,
        "driver_mb": int(status["VmHWM"].split()[0]) / 1024,
        "object_store_mb": store.peak / 2**20,
        "ids": found.items.ids.tolist(),
    }
    if options.candidates:
        with SerialEngine().open() as session:
            before, started = _bytes_read(), perf_counter()
            coordinator(session, pool).collect(found.items.rows, frozenset({"explanations"}), "explain")
            read = _bytes_read() - before
        measures |= {"explain_s": perf_counter() - started, "read": read, "share": read / sum(pool.sizes)}
    print(json.dumps(measures))


def _bytes_read() -> int:
    """By this process so far, through read calls."""
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


class ObjectStore:
    """Watches the bytes used in Ray's object store, and those that it had to spill to disk."""

    def __init__(self) -> None:
        self.peak, self._over = 0, threading.Event()

    def __enter__(self) -> "ObjectStore":
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        while not self._over.is_set():
            stats = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
            self.peak = max(self.peak, stats.object_store_bytes_used + stats.spilled_bytes_total)
            sleep(0.2)


def query(kind: str, strategy: str, pool: Path, weights: Path, *, candidates: bool = False) -> Any:
    """In a process of its own, whose peak memory is then its own."""
    command = [sys.executable, __file__, "--child", kind, strategy, str(pool), str(weights)]
    done = subprocess.run([*command, *(["--candidates"] if candidates else [])], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def pools(folder: Path, kind: str, items: int) -> dict[str, Path]:
    """The whole pool, a quarter of it, a small one to warm up on; built unless they are there."""
    places = {name: folder / f"{kind}-{items}" / name for name in ("whole", "quarter", "warm")}
    if not (places["warm"] / "part-000.parquet").exists():
        shutil.rmtree(folder / f"{kind}-{items}", ignore_errors=True)
        for place in places.values():
            place.mkdir(parents=True)
        started = perf_counter()
        build = build_images if kind == "images" else build_vectors
        build(places["whole"], items)
        files = sorted(places["whole"].glob("*.parquet"))
        for file in files[: len(files) // 4]:
            os.link(file, places["quarter"] / file.name)
        build(places["warm"], 8192)
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"built {items:,} {kind}, {size:,.0f} MB in {perf_counter() - started:.0f} s")
    return places


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--work", type=Path, help="folder for the pools, kept")
    parser.add_argument("--only", choices=PARTS, nargs="+")
    parser.add_argument("--items", type=int, default=1_000_000, help="images")
    parser.add_argument("--markdown", type=Path, help="write the tables, and what follows from them, to this file")
    parser.add_argument("--vectors", type=int, default=10_000_000)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--candidates", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        measures: dict[str, float] = {}
        wanted = set(options.only or PARTS)
        if wanted - {"vectors"}:
            places, weights = pools(folder, "images", options.items), weights_of(folder, "images")
        if "images" in wanted:
            measures |= images(places, weights, options.repeats)
        if "ebano" in wanted:
            measures |= ebano(places, weights)
        if "vectors" in wanted:
            measures |= vectors(pools(folder, "vectors", options.vectors), weights_of(folder, "vectors"))
        if "costs" in wanted:
            measures |= costs(places, weights)
    write(options.json, measures)
    if options.markdown:
        options.markdown.write_text(reckoning(measures), encoding="utf-8")


def images(places: dict[str, Path], weights: Path, repeats: int) -> dict[str, float]:
    """Throughput, memory, linearity."""
    ours: dict[str, list[Any]] = {"quarter": [], "whole": []}
    theirs: list[float] = []
    for _ in range(repeats):
        for name in ours:
            ours[name].append(query("images", "entropy", places[name], weights))
        seconds, ids = run_bare(places["whole"], weights)
        theirs.append(seconds)
        shared = len(ids & set(ours["whole"][-1]["ids"]))
    seconds = {name: median(each["seconds"] for each in runs) for name, runs in ours.items()}
    items = {name: runs[0]["items"] for name, runs in ours.items()}
    driver = {name: max(each["driver_mb"] for each in runs) for name, runs in ours.items()}
    store = {name: max(each["object_store_mb"] for each in runs) for name, runs in ours.items()}
    rows: list[list[object]] = [
        [f"xal on Ray, {items[name]:,}", seconds[name], items[name] / seconds[name], driver[name], store[name]]
        for name in ours
    ]
    rows.append([f"bare torch, {items['whole']:,}", median(theirs), items["whole"] / median(theirs), "", ""])
    columns = ["entropy, top 1000", "seconds", "items/s", "driver's peak MB", "object store's peak MB"]
    show(
        f"images, median of {repeats}, {shared} of {KEEP} ids alike (batches differ at the edges of files)",
        columns,
        rows,
    )
    cpu = {name: median(each["driver_cpu_s"] for each in runs) for name, runs in ours.items()}
    # both passes are cut into about as many units, so the longer one costs the driver more only for its length
    idle = max(0.0, (cpu["whole"] - cpu["quarter"]) / (seconds["whole"] - seconds["quarter"]))
    units = items["whole"] / unit_size(items["whole"], 28 * 28)
    return {
        "throughput_vs_bare": median(theirs) / seconds["whole"],
        "items_per_s": items["whole"] / seconds["whole"],
        "driver_growth_mb": driver["whole"] - driver["quarter"],
        "driver_mb": driver["whole"],
        "object_store_mb": max(store.values()),
        "time_1m_over_250k": seconds["whole"] / seconds["quarter"],
        "driver_idle": idle,
        "driver_unit_ms": 1e3 * max(0.0, cpu["whole"] - idle * seconds["whole"]) / units,
    }


def ebano(places: dict[str, Path], weights: Path) -> dict[str, float]:
    """What explaining a subset of the pool costs, and reads of it."""
    names = ("random", "entropy", "diverse")
    found = {name: query("images", name, places["whole"], weights, candidates=True) for name in names}
    columns = [f"{CANDIDATES:,} candidates by", "query s", "explain again s", "read for that MB", "share of the pool"]
    rows = [[n, each["seconds"], each["explain_s"], each["read"] / 1e6, each["share"]] for n, each in found.items()]
    show("EBAnO-Uncertainty on a pre-selected subset", columns, rows)
    seconds = {f"ebano_{name}_s": each["seconds"] for name, each in found.items()}
    return seconds | {"candidate_read_share": max(each["share"] for each in found.values())}


def vectors(places: dict[str, Path], weights: Path) -> dict[str, float]:
    """Margin of a linear model."""
    found = {name: query("vectors", "margin", places[name], weights) for name in ("quarter", "whole")}
    columns = ["margin, top 1000", "seconds", "items/s", "driver's peak MB", "object store's peak MB"]
    rows = [
        [f"{each['items']:,} vectors", each["seconds"], each["items"] / each["seconds"], each["driver_mb"]]
        + [each["object_store_mb"]]
        for each in found.values()
    ]
    show(f"{WIDTH}-d vectors, linear model", columns, rows)
    whole, quarter = found["whole"], found["quarter"]
    return {
        "vectors_per_s": whole["items"] / whole["seconds"],
        "vectors_driver_growth_mb": whole["driver_mb"] - quarter["driver_mb"],
        "vectors_object_store_mb": max(each["object_store_mb"] for each in found.values()),
    }


def costs(places: dict[str, Path], weights: Path) -> dict[str, float]:
    """Microseconds of one core that an item takes, in this process."""
    from photos import data_folder

    from xal.core.malloc import keep_freed_memory
    from xal.core.rng import HashRng
    from xal.data.images import decode
    from xal.data.pool import Pool
    from xal.data.sharding import Reader, units
    from xal.engine.tasks import ModelRef, Score
    from xal.engine.worker import Worker
    from xal.models.torch.convnet import Convnet
    from xal.strategies import Strategy

    keep_freed_memory()
    started = perf_counter()
    pool = Pool.open(places["whole"])
    measures = {"open_s_per_million": 1e6 * (perf_counter() - started) / len(pool)}
    ref = ModelRef(model=Convnet(), weights=weights, version="1", shape=SHAPE, classes=CLASSES)
    work = Score(
        needs=frozenset({"probabilities"}),
        model=ref,
        strategy=Strategy.named("entropy")(),
        rng=HashRng(0),
        keep=KEEP,
    )
    reader = Reader(pool=pool, payload=True, labels=False, shape=SHAPE, batch=256)
    worker, some = Worker("cpu", 1), units(len(pool), None, 256, 16)[:9]
    worker.run(work, reader(some[0]))
    items = sum(unit.stop - unit.start for unit in some[1:])
    started = perf_counter()
    blocks = [reader(unit) for unit in some[1:]]
    measures["read_us"] = 1e6 * (perf_counter() - started) / items
    started = perf_counter()
    for block in blocks:
        worker.run(work, block)
    measures["forward_us"] = 1e6 * (perf_counter() - started) / items
    measures["bytes_an_image"] = sum(pool.sizes) / len(pool)
    try:
        photos = [path.read_bytes() for path in sorted((data_folder() / "imagenette-val" / "images").iterdir())]
    except FileNotFoundError as error:
        print(f"photos: left out ({error})")
    else:
        started = perf_counter()
        decode(photos, (3, 224, 224))
        measures["photo_read_us"] = 1e6 * (perf_counter() - started) / len(photos)
        measures["bytes_a_photo"] = sum(map(len, photos)) / len(photos)
    show("one core, one item", ["", "value"], list(measures.items()))
    return measures


if __name__ == "__main__":
    main()
