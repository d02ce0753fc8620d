"""The retrieval of explanation disagreement, W = X' v, for a million documents, compared with plain scipy.

    python benchmarks/retrieval.py --work DIR [--json FILE] [--repeats 3]

Documents have 50 words each, drawn from 50,000, and are stored as in a pool of texts: Parquet with a list of word
columns. "plain" is one process per core that reads ids and lists with pyarrow and multiplies with scipy. xal also
selects the 200 documents of largest W with their ids. Both are timed after a warm-up. driver_growth_mb is the peak
memory of this process for the whole pool minus that for a quarter of it.
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
    parser.add_argument("--work", type=Path, required=True, help="folder for the pools, which are built once")
    options = parser.parse_args()
    folder = make(options.work, DOCUMENTS)
    quarter = make(options.work, DOCUMENTS // 4)
    generator = np.random.default_rng(1)
    columns = np.unique(hashed_words.columns([f"w{n}" for n in generator.choice(VOCABULARY, 3000, replace=False)]))
    state = Retrieval(columns.astype(np.int64), generator.normal(size=len(columns)), hashed_words.COLUMNS)
    cores = os.cpu_count() or 1
    times: dict[str, list[float]] = {"plain": [], "xal": []}
    strategy = ExplanationDisagreement()
    task = Score(needs=strategy.needs, strategy=strategy, rng=HashRng(0), keep=200, state=state)
    files = sorted(folder.glob("*.parquet"))
    with ProcessPoolExecutor(cores) as processes, RayEngine().open() as session:

        def ours(pool: Pool) -> Scored:
            best = Scored.empty()
            for result in session.run(pool, task, shape=()):
                best = Scored.concatenate([best, result.value]).top(200)
            return best

        small, large = Pool.open(quarter), Pool.open(folder)
        ours(small)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ours(large)
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
        for repeat in range(options.repeats + 1):
            started = perf_counter()
            values = np.concatenate(list(processes.map(product, files, [state] * len(files))))
            middle = perf_counter()
            best = ours(large)
            if repeat:
                times["plain"].append(middle - started)
                times["xal"].append(perf_counter() - middle)
    np.testing.assert_allclose(np.sort(values)[::-1][:200], best.scores, rtol=1e-12)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    rows = [[name, seconds, DOCUMENTS / seconds] for name, seconds in medians.items()]
    show(f"W over {DOCUMENTS:,} documents, {cores} cores", ["", "seconds", "documents/s"], rows)
    write(options.json, {"ratio_to_scipy": medians["xal"] / medians["plain"], "driver_growth_mb": growth})


def make(work: Path, documents: int) -> Path:
    """Build a pool of texts, unless it exists."""
    folder = work / f"words-{documents}"
    if folder.exists():
        return folder
    temporary = work / f".words-{documents}"
    temporary.mkdir(parents=True, exist_ok=True)
    names = np.array([f"w{n}" for n in range(VOCABULARY)], object)
    columns = hashed_words.columns(names.tolist())
    generator = np.random.default_rng(0)
    per_file = documents // FILES
    for part in range(FILES):
        drawn = generator.integers(0, VOCABULARY, (per_file, LENGTH))
        lists = [np.unique(columns[row]) for row in drawn]
        table = pa.table(
            {
                "id": [f"document-{part * per_file + n:07d}" for n in range(per_file)],
                "text": [" ".join(names[row]) for row in drawn],
                "words": pa.array(lists, pa.list_(pa.int32())),
            }
        )
        pq.write_table(table, temporary / f"part-{part:03d}.parquet", row_group_size=GROUP, compression="zstd")
    temporary.rename(folder)
    return folder


def product(path: Path, state: Retrieval) -> np.ndarray:
    """W of the documents of one file."""
    table = pq.read_table(path, columns=["id", "words"], use_threads=False)
    lists = table["words"].combine_chunks()
    offsets, flat = lists.offsets.to_numpy(), lists.values.to_numpy()
    matrix = sparse.csr_array((np.ones(len(flat)), flat, offsets), shape=(len(table), hashed_words.COLUMNS))
    return np.asarray(matrix @ state.dense)


if __name__ == "__main__":
    main()
