"""Queries over a million images and ten million vectors on the cores of this machine.

    python benchmarks/scale.py [--json FILE] [--work FOLDER] [--only PART] [--markdown FILE] [--items 1000000]

It builds its pools in FOLDER (by default temporary; a named folder is kept and used again): shifted and rotated
Fashion-MNIST images of the demo, in Parquet, and 64-d vectors.

images: the top 1000 by entropy of the convnet, on Ray and with a bare torch loop over the same files in one process per
core (pyarrow, Pillow, forward pass, entropy, top 1000), timed alternately after a warm-up [throughput_vs_bare]. The
driver's peak memory [driver_growth_mb] and the peak of the object store [object_store_mb] are measured in separate
processes, for a quarter of the pool and for all of it [time_1m_over_250k].
ebano: EBAnO-Uncertainty with 2,000 candidates, chosen at random, by entropy, or as a diverse sample. The same
candidates are then explained again on the serial engine in one process; the bytes that it reads, as counted by the
kernel, are divided by the bytes of the pool [candidate_read_share].
vectors: the top 1000 by margin of a linear model.
costs: the time per item on one core after a warm-up, for reading and decoding, the forward pass, and the driver; the
same for photos of 224 pixels if there is a data folder; and the time to open a pool. `--markdown docs/scaling.md`
extrapolates from them.
"""

import argparse
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
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
from reckoning import reckoning, shard_size
from safetensors.torch import load_file, save_file
from scale_pools import CLASSES, SHAPE, WIDTH, pools
from table import arguments, show, write

PARTS = ("images", "ebano", "vectors", "costs")
KEEP, CANDIDATES = 1000, 2000


def weights_of(folder: Path, kind: str) -> Path:
    """The file of a model with random weights; only its cost matters here."""
    from xal.models.torch.convnet import Convnet
    from xal.models.torch.linear import Linear

    path = folder / f"{kind}.safetensors"
    model = Convnet().create(SHAPE, CLASSES, seed=0) if kind == "images" else Linear().create((WIDTH,), CLASSES, seed=0)
    save_file(model.state_dict(), path)
    return path


def bare(start: Any, results: Any, files: list[Path], weights: Path) -> None:
    """A careful user's loop for one core: the 1000 most uncertain items of some files."""
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
                images = np.stack([np.asarray(Image.open(io.BytesIO(encoded.as_py()))) for encoded in batch["image"]])
                p = torch.softmax(classifier(torch.from_numpy(images[:, None]).float() / 255), dim=1)
                entropy = -(p * p.log()).nan_to_num().sum(1)
                scores = torch.cat([scores, entropy])
                ids = np.concatenate([ids, batch["id"].to_numpy(zero_copy_only=False)])
                if len(scores) > 20 * KEEP:
                    best = scores.topk(KEEP).indices
                    scores, ids = scores[best], ids[best.numpy()]
    best = scores.topk(KEEP).indices
    results.put((scores[best].numpy(), ids[best.numpy()]))


def run_bare(pool: Path, weights: Path) -> tuple[float, set[str]]:
    """Run `bare` in one process per core; returns (seconds, ids)."""
    context = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    files = sorted(pool.glob("*.parquet"))
    start, results = context.Barrier(cores + 1), context.Queue()
    processes = [context.Process(target=bare, args=(start, results, files[i::cores], weights)) for i in range(cores)]
    for process in processes:
        process.start()
    start.wait()
    started = perf_counter()
    parts = [results.get() for _ in processes]
    scores, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = ids[np.argsort(-scores, kind="stable")[:KEEP]]
    seconds = perf_counter() - started
    for process in processes:
        process.join()
    return seconds, set(best.tolist())


def child(options: argparse.Namespace) -> None:
    """Run one query with this process as the driver, and print its measures as JSON."""
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
        shape=SHAPE if images else (WIDTH,),
        n_classes=CLASSES,
    )
    plan, keep = Strategy.named(strategy)(), KEEP
    if options.candidates:
        settings = {"candidates": CANDIDATES, "threshold": -2.0, "candidates_from": plan}
        plan, keep = Strategy.named("ebano_uncertainty")(**settings), CANDIDATES

    def coordinator(session: Session, pool: Pool) -> Coordinator:
        return Coordinator(session=session, pool=pool, shape=ref.shape, model=ref, explainer=Ebano())

    with RayEngine().open() as session:
        coordinator(session, Pool.open(Path(folder).parent / "warm")).query(
            Strategy.named("margin")(), keep, HashRng(0)
        )
        with ObjectStore() as store:
            started, cpu_started = perf_counter(), process_time()
            pool = Pool.open(folder)
            chosen = coordinator(session, pool).query(plan, keep, HashRng(0))
            seconds, cpu_seconds = perf_counter() - started, process_time() - cpu_started
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    measures = {
        "items": len(pool),
        "seconds": seconds,
        "driver_cpu_s": cpu_seconds,
        "driver_mb": int(status["VmHWM"].split()[0]) / 1024,
        "object_store_mb": store.peak / 2**20,
        "ids": chosen.items.ids.tolist(),
    }
    if options.candidates:
        with SerialEngine().open() as session:
            before, started = _bytes_read(), perf_counter()
            coordinator(session, pool).collect(chosen.items.rows, frozenset({"explanations"}), "explain")
            read = _bytes_read() - before
        measures |= {"explain_s": perf_counter() - started, "read": read, "share": read / sum(pool.sizes)}
    print(json.dumps(measures))


def _bytes_read() -> int:
    """Bytes that this process has read so far through read calls."""
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


class ObjectStore:
    """Watches the peak of the bytes in Ray's object store, including those spilled to disk."""

    def __init__(self) -> None:
        self.peak, self._stop = 0, threading.Event()

    def __enter__(self) -> "ObjectStore":
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _watch(self) -> None:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        while not self._stop.is_set():
            stats = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
            self.peak = max(self.peak, stats.object_store_bytes_used + stats.spilled_bytes_total)
            sleep(0.2)


def query(kind: str, strategy: str, pool: Path, weights: Path, *, candidates: bool = False) -> Any:
    """Run `child` in a new process, so that its peak memory is that of the query alone."""
    command = [sys.executable, __file__, "--child", kind, strategy, str(pool), str(weights)]
    completed = subprocess.run(
        [*command, *(["--candidates"] if candidates else [])], stdout=subprocess.PIPE, check=True
    )
    return json.loads(completed.stdout.splitlines()[-1])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--work", type=Path, help="folder for the pools, which is kept; default: a temporary one")
    parser.add_argument("--only", choices=PARTS, nargs="+")
    parser.add_argument("--items", type=int, default=1_000_000, help="number of images")
    parser.add_argument(
        "--markdown", type=Path, help="write docs/scaling.md to this file; needs all parts and the data folder"
    )
    parser.add_argument("--vectors", type=int, default=10_000_000, help="number of vectors")
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
        selected = set(options.only or PARTS)
        if selected - {"vectors"}:
            folders, weights = pools(folder, "images", options.items), weights_of(folder, "images")
        if "images" in selected:
            measures |= images(folders, weights, options.repeats)
        if "ebano" in selected:
            measures |= ebano(folders, weights)
        if "vectors" in selected:
            measures |= vectors(pools(folder, "vectors", options.vectors), weights_of(folder, "vectors"))
        if "costs" in selected:
            measures |= costs(folders, weights)
    write(options.json, measures)
    if options.markdown:
        options.markdown.write_text(reckoning(measures), encoding="utf-8")


def images(folders: dict[str, Path], weights: Path, repeats: int) -> dict[str, float]:
    """Throughput, memory, and growth of the time with the pool."""
    ours: dict[str, list[Any]] = {"quarter": [], "whole": []}
    theirs: list[float] = []
    for _ in range(repeats):
        for name in ours:
            ours[name].append(query("images", "entropy", folders[name], weights))
        seconds, ids = run_bare(folders["whole"], weights)
        theirs.append(seconds)
        shared = len(ids & set(ours["whole"][-1]["ids"]))
    seconds = {name: median(run["seconds"] for run in runs) for name, runs in ours.items()}
    items = {name: runs[0]["items"] for name, runs in ours.items()}
    driver = {name: max(run["driver_mb"] for run in runs) for name, runs in ours.items()}
    store = {name: max(run["object_store_mb"] for run in runs) for name, runs in ours.items()}
    rows: list[list[object]] = [
        [f"xal on Ray, {items[name]:,}", seconds[name], items[name] / seconds[name], driver[name], store[name]]
        for name in ours
    ]
    rows.append([f"bare torch, {items['whole']:,}", median(theirs), items["whole"] / median(theirs), "", ""])
    columns = ["entropy, top 1000", "seconds", "items/s", "driver peak MB", "object store peak MB"]
    show(
        f"images, median of {repeats}, {shared} of {KEEP} ids equal (batches differ at the ends of files)",
        columns,
        rows,
    )
    cpu = {name: median(run["driver_cpu_s"] for run in runs) for name, runs in ours.items()}
    # both passes have about the same number of shards, so the longer one costs the driver more only for its length
    idle = max(0.0, (cpu["whole"] - cpu["quarter"]) / (seconds["whole"] - seconds["quarter"]))
    n_shards = items["whole"] / shard_size(items["whole"], 28 * 28)
    return {
        "throughput_vs_bare": median(theirs) / seconds["whole"],
        "items_per_s": items["whole"] / seconds["whole"],
        "driver_growth_mb": driver["whole"] - driver["quarter"],
        "driver_mb": driver["whole"],
        "object_store_mb": max(store.values()),
        "time_1m_over_250k": seconds["whole"] / seconds["quarter"],
        "driver_idle": idle,
        "driver_shard_ms": 1e3 * max(0.0, cpu["whole"] - idle * seconds["whole"]) / n_shards,
    }


def ebano(folders: dict[str, Path], weights: Path) -> dict[str, float]:
    """Time of explaining a subset of the pool, and the bytes that this reads."""
    names = ("random", "entropy", "diverse")
    queries = {name: query("images", name, folders["whole"], weights, candidates=True) for name in names}
    columns = [f"{CANDIDATES:,} candidates by", "query s", "explain again s", "read for it MB", "share of the pool"]
    rows = [[name, run["seconds"], run["explain_s"], run["read"] / 1e6, run["share"]] for name, run in queries.items()]
    show("EBAnO-Uncertainty with candidates", columns, rows)
    seconds = {f"ebano_{name}_s": run["seconds"] for name, run in queries.items()}
    return seconds | {"candidate_read_share": max(run["share"] for run in queries.values())}


def vectors(folders: dict[str, Path], weights: Path) -> dict[str, float]:
    """Throughput and memory of the margin of a linear model."""
    queries = {name: query("vectors", "margin", folders[name], weights) for name in ("quarter", "whole")}
    columns = ["margin, top 1000", "seconds", "items/s", "driver peak MB", "object store peak MB"]
    rows = [
        [f"{run['items']:,} vectors", run["seconds"], run["items"] / run["seconds"], run["driver_mb"]]
        + [run["object_store_mb"]]
        for run in queries.values()
    ]
    show(f"{WIDTH}-d vectors, linear model", columns, rows)
    whole, quarter = queries["whole"], queries["quarter"]
    return {
        "vectors_per_s": whole["items"] / whole["seconds"],
        "vectors_driver_growth_mb": whole["driver_mb"] - quarter["driver_mb"],
        "vectors_object_store_mb": max(run["object_store_mb"] for run in queries.values()),
    }


def costs(folders: dict[str, Path], weights: Path) -> dict[str, float]:
    """Microseconds per item on one core, in this process."""
    from photos import data_folder

    from xal.core.malloc import keep_freed_memory
    from xal.core.rng import HashRng
    from xal.data.images import decode
    from xal.data.pool import Pool
    from xal.data.sharding import Reader, shards
    from xal.engine.tasks import ModelRef, Score
    from xal.engine.worker import Worker
    from xal.models.torch.convnet import Convnet
    from xal.strategies import Strategy

    keep_freed_memory()
    started = perf_counter()
    pool = Pool.open(folders["whole"])
    measures = {"open_s_per_million": 1e6 * (perf_counter() - started) / len(pool)}
    ref = ModelRef(model=Convnet(), weights=weights, version="1", shape=SHAPE, n_classes=CLASSES)
    task = Score(
        needs=frozenset({"probabilities"}),
        model=ref,
        strategy=Strategy.named("entropy")(),
        rng=HashRng(0),
        keep=KEEP,
    )
    reader = Reader(pool=pool, payload=True, labels=False, shape=SHAPE, batch=256)
    worker, (warm_up, *timed) = Worker("cpu", 1), shards(len(pool), None, 256, 16)[:9]
    worker.run(task, reader(warm_up))
    items = sum(shard.stop - shard.start for shard in timed)
    started = perf_counter()
    blocks = [reader(shard) for shard in timed]
    measures["read_us"] = 1e6 * (perf_counter() - started) / items
    started = perf_counter()
    for block in blocks:
        worker.run(task, block)
    measures["forward_us"] = 1e6 * (perf_counter() - started) / items
    measures["bytes_an_image"] = sum(pool.sizes) / len(pool)
    try:
        photos = [path.read_bytes() for path in sorted((data_folder() / "imagenette-val" / "images").iterdir())]
    except FileNotFoundError as error:
        print(f"photos: skipped ({error})")
    else:
        started = perf_counter()
        decode(photos, (3, 224, 224))
        measures["photo_read_us"] = 1e6 * (perf_counter() - started) / len(photos)
        measures["bytes_a_photo"] = sum(map(len, photos)) / len(photos)
    show("one item on one core", ["", "value"], list(measures.items()))
    return measures


if __name__ == "__main__":
    main()
