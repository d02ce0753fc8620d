"""Explanation disagreement's retrieval, W = X' v, over a million documents, against reading and one sparse product.

    python benchmarks/retrieval.py --work DIR [--json FILE] [--repeats 3]

Documents hold 50 words each, drawn from 50,000, as a pool of texts keeps them: Parquet with a list of word columns.
Plain is one process a core: pyarrow reads ids and lists, scipy multiplies; nothing is kept of it. xal besides keeps
ids, and the 200 of largest W. Both are timed warm. Driver memory: peak of this process over the larger pool less that
over a quarter of it.
"""

import os
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from table import arguments, show, write

from xal.core import hashed_words
from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.engine.ray.engine import RayEngine
from xal.engine.tasks import Score
from xal.strategies.explanation_disagreement import ExplanationDisagreement, Retrieval
from xal.types import Scored

DOCUMENTS, LENGTH, VOCABULARY, FILES, GROUP = 1_000_000, 50, 50_000, 16, 128


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--work", type=Path, required=True, help="folder for the pools, which are made once")
    options = parser.parse_args()
    folder = make(options.work, DOCUMENTS)
    quarter = make(options.work, DOCUMENTS // 4)
    generator = np.random.default_rng(1)
    columns = np.unique(hashed_words.columns([f"w{n}" for n in generator.choice(VOCABULARY, 3000, replace=False)]))
    state = Retrieval(columns.astype(np.int64), generator.normal(size=len(columns)), hashed_words.COLUMNS)
    cores = os.cpu_count() or 1
    times: dict[str, list[float]] = {"plain": [], "xal": []}
    strategy = ExplanationDisagreement()
    work = Score(needs=strategy.needs, strategy=strategy, rng=HashRng(0), keep=200, state=state)
    files = sorted(folder.glob("*.parquet"))
    with ProcessPoolExecutor(cores) as processes, RayEngine().open() as session:

        def ours(pool: Pool) -> Scored:
            best = Scored.empty()
            for partial in session.run(pool, work, shape=()):
                best = Scored.concatenate([best, partial.value]).top(200)
            return best

        small, large = Pool.open(quarter), Pool.open(folder)
        ours(small)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ours(large)
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
        for repeat in range(options.repeats + 1):
            started = perf_counter()
            found = np.concatenate(list(processes.map(product, files, [state] * len(files))))
            middle = perf_counter()
            best = ours(large)
            if repeat:
                times["plain"].append(middle - started)
                times["xal"].append(perf_counter() - middle)
    np.testing.assert_allclose(np.sort(found)[::-1][:200], best.scores, rtol=1e-12)
    taken = {name: float(np.median(values)) for name, values in times.items()}
    rows = [[name, seconds, DOCUMENTS / seconds] for name, seconds in taken.items()]
    show(f"W over {DOCUMENTS:,} documents, {cores} cores", ["", "seconds", "documents/s"], rows)
    write(options.json, {"ratio_to_scipy": taken["xal"] / taken["plain"], "driver_growth_mb": growth})


def make(work: Path, documents: int) -> Path:
    """A pool of texts."""
    folder = work / f"words-{documents}"
    if folder.exists():
        return folder
    aside = work / f".words-{documents}"
    aside.mkdir(parents=True, exist_ok=True)
    names = np.array([f"w{n}" for n in range(VOCABULARY)], object)
    columns = hashed_words.columns(names.tolist())
    generator = np.random.default_rng(0)
    each = documents // FILES
    for part in range(FILES):
        drawn = generator.integers(0, VOCABULARY, (each, LENGTH))
        lists = [np.unique(columns[row]) for row in drawn]
        table = pa.table(
            {
                "id": [f"document-{part * each + n:07d}" for n in range(each)],
                "text": [" ".join(names[row]) for row in drawn],
                "words": pa.array(lists, pa.list_(pa.int32())),
            }
        )
        pq.write_table(table, aside / f"part-{part:03d}.parquet", row_group_size=GROUP, compression="zstd")
    aside.rename(folder)
    return folder


def product(path: Path, state: Retrieval) -> np.ndarray:
    """W of one file."""
    table = pq.read_table(path, columns=["id", "words"], use_threads=False)
    lists = table["words"].combine_chunks()
    offsets, flat = lists.offsets.to_numpy(), lists.values.to_numpy()
    matrix = sparse.csr_array((np.ones(len(flat)), flat, offsets), shape=(len(table), hashed_words.COLUMNS))
    return np.asarray(matrix @ state.dense)


if __name__ == "__main__":
    main()
