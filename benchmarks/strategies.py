"""Query strategies that choose a batch together: time beside plain numpy and scikit-activeml, and over a million items.

    python benchmarks/strategies.py [--json FILE] [--work FOLDER] [--only uherding,sampled,badge,kcenter,typiclust,
                                    bait,million] [--rows 1000000]

Embeddings are made up: ten overlapping clusters, 200 labelled items, a batch of 100.

uherding: 20,000 x 384, beside a greedy in plain numpy that keeps the whole kernel and computes all gains anew
[uherding_vs_numpy]; [uherding_same_ids] of 100 are equal. sampled: the same where candidates are a random 2,000 or
5,000 of the 20,000; how much less their choice covers, on all 20,000 [sampled_2000_loss, sampled_5000_loss].
badge: 20,000 x 384 with 100 classes, beside scikit-activeml [badge_speedup]; both draw at random. kcenter:
20,000 x 128, k = 50, beside numpy's incremental greedy [kcenter_vs_numpy]; [kcenter_same_ids] of 50 are equal.
typiclust: 100,000 x 384, beside scikit-activeml [typiclust_speedup]. bait: 20,000 x 384 [bait_s].
million: queries on Ray over a million kept vectors of width 384, with a trained head, each with its own passes
[uherding_1m_s, bait_1m_s, badge_1m_s, typiclust_1m_s]; the driver's largest memory, without pages of libraries' files
[driver_mb]; BAIT's time divided by four times that over a quarter of the pool [bait_linear]: above 1, it would grow
faster than the pool.
"""

import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import numpy as np
from embeddings import CLASSES, LABELLED, head_job, million
from kept_vectors import WIDTH, Made
from table import arguments, show, write

from xal.core.rng import HashRng
from xal.engine import RayEngine
from xal.engine.coordinator import Coordinator
from xal.engine.embedding import embed_pool
from xal.engine.tasks import ModelRef
from xal.strategies import Strategy
from xal.strategies.badge import Badge
from xal.strategies.bait import Bait
from xal.strategies.herding import most_similar
from xal.strategies.in_memory import InMemoryPasses
from xal.strategies.joint import unit
from xal.strategies.k_center import KCenter
from xal.strategies.typiclust import TypiClust
from xal.strategies.uncertainty_herding import UncertaintyHerding
from xal.types import Evidence

N, B, KNOWN = 20_000, 100, 200
PARTS = ("uherding", "sampled", "badge", "kcenter", "typiclust", "bait", "million")


def made(n: int, d: int, classes: int = CLASSES) -> InMemoryPasses:
    """A pool of n items of which the first 200 are labelled."""
    generator = np.random.default_rng(0)
    cluster = generator.integers(0, classes, n)
    means = generator.normal(size=(classes, d)).astype(np.float32)
    embeddings = means[cluster] + generator.standard_normal((n, d), np.float32)
    logits = generator.normal(size=(n, classes)) + 2 * np.eye(classes)[cluster]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    evidence = Evidence(
        ids=np.array([f"{number:06d}" for number in range(n)], object),
        rows=np.arange(n),
        embeddings=embeddings,
        probabilities=probabilities,
    )
    return InMemoryPasses(evidence=evidence, labelled=np.arange(KNOWN), labels=cluster[:KNOWN])


def timed(call: Callable[[], list[int]], repeats: int = 2) -> tuple[list[int], float]:
    """(result, least seconds)."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        result = call()
        times.append(perf_counter() - started)
    return result, min(times)


def asked(passes: InMemoryPasses, strategy: Strategy, n: int = B) -> list[int]:
    """Positions of the query."""
    return [int(row) for row in strategy.query(passes, n, HashRng(0)).items.rows]


def vectors_and_weights(passes: InMemoryPasses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """((n, d) of length 1, (n,) 1 - margin, (m, d) of the labelled items) of the unlabelled items."""
    points = unit(passes.evidence.embeddings)
    top = np.sort(passes.evidence.probabilities[KNOWN:], axis=1)
    return points[KNOWN:], 1 - (top[:, -1] - top[:, -2]), points[:KNOWN]


def numpy_greedy(points: np.ndarray, u: np.ndarray, known: np.ndarray, h: float) -> list[int]:
    """Greedy by the definition, with the kernel of all pairs in memory."""
    kernel = 2 * (points @ points.T)
    kernel -= np.einsum("nd,nd->n", points, points)[:, None]
    kernel -= np.einsum("nd,nd->n", points, points)
    kernel = np.exp(kernel / h**2)
    covered = np.exp(-(2 - 2 * points @ known.T) / h**2).max(axis=1)
    chosen: list[int] = []
    for _ in range(B):
        gains = np.zeros(len(points))
        for start in range(0, len(points), 1000):
            part = slice(start, start + 1000)
            gains += u[part] @ np.maximum(kernel[part] - covered[part, None], 0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        covered = np.maximum(covered, kernel[:, chosen[-1]])
    return [each + KNOWN for each in chosen]


def uherding() -> dict[str, float]:
    """Lazy greedy beside plain greedy."""
    passes = made(N, WIDTH)
    strategy = UncertaintyHerding()
    points, u, known = vectors_and_weights(passes)
    ours, seconds = timed(lambda: asked(passes, strategy))
    theirs, plain = timed(lambda: numpy_greedy(points, u, known, strategy.width(known)), 1)
    same = sum(one == other for one, other in zip(ours, theirs, strict=True))
    show(
        f"uncertainty herding, {N:,} x {WIDTH}, B = {B}: {same} of {B} ids are equal",
        ["", "s"],
        [["xal", seconds], ["numpy", plain]],
    )
    return {"uherding_vs_numpy": seconds / plain, "uherding_same_ids": same}


def sampled() -> dict[str, float]:
    """What the choice from a sample covers, on the whole pool."""
    passes = made(N, WIDTH)
    points, u, known = vectors_and_weights(passes)
    h = UncertaintyHerding().width(known)

    def covered(chosen: list[int]) -> float:
        return float(u @ most_similar(points, np.concatenate([known, points[np.array(chosen) - KNOWN]]), h))

    before = float(u @ most_similar(points, known, h))
    whole = covered(asked(passes, UncertaintyHerding())) - before
    losses, rows = {}, []
    for size in (2000, 5000):
        gain = covered(asked(passes, UncertaintyHerding(sample=size))) - before
        losses[f"sampled_{size}_loss"] = 1 - gain / whole
        rows.append([f"{size:,} of {N:,}", gain, 1 - gain / whole])
    show("gain of the batch on the whole pool", ["candidates", "gain", "loss"], [["all", whole, 0.0], *rows])
    return losses


def badge() -> dict[str, float]:
    """Factorised distances beside gradients that are built."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import Badge as Theirs
    from sklearn.linear_model import LogisticRegression as Linear

    passes = made(N, WIDTH, classes=100)
    x, y = np.asarray(passes.evidence.embeddings, np.float64), np.full(N, np.nan)
    y[:KNOWN] = np.arange(KNOWN) % 100
    head = SklearnClassifier(Linear(max_iter=20), classes=np.arange(100)).fit(x, y)
    _, seconds = timed(lambda: asked(passes, Badge()))
    query = Theirs(random_state=0)
    theirs, other = timed(lambda: list(query.query(x, y, clf=head, fit_clf=False, batch_size=B)), 1)
    show(f"BADGE, {N:,} x {WIDTH}, 100 classes, B = {B}", ["", "s"], [["xal", seconds], ["scikit-activeml", other]])
    assert len(set(theirs)) == B
    return {"badge_speedup": other / seconds}


def kcenter() -> dict[str, float]:
    """Farthest first beside the same in numpy."""
    passes, k = made(N, 128), 50
    x = np.asarray(passes.evidence.embeddings, np.float32)

    def plain() -> list[int]:
        distances = np.full(N, np.inf, np.float32)
        for known in range(KNOWN):
            distances = np.minimum(distances, ((x - x[known]) ** 2).sum(axis=1))
        chosen = []
        for _ in range(k):
            chosen.append(int(distances.argmax()))
            distances = np.minimum(distances, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
        return chosen

    ours, seconds = timed(lambda: asked(passes, KCenter(), k), 3)
    theirs, other = timed(plain, 3)
    same = sum(one == each for one, each in zip(ours, theirs, strict=True))
    show(f"k-center, {N:,} x 128, k = {k}: {same} ids are equal", ["", "s"], [["xal", seconds], ["numpy", other]])
    return {"kcenter_vs_numpy": seconds / other, "kcenter_same_ids": same}


def typiclust() -> dict[str, float]:
    """A few steps of k-means and blocks of distances beside scikit-activeml."""
    from skactiveml.pool import TypiClust as Theirs

    n = 100_000
    passes = made(n, WIDTH)
    ours, seconds = timed(lambda: asked(passes, TypiClust(sample=n)), 1)
    x, y = unit(passes.evidence.embeddings), np.full(n, np.nan)
    y[:KNOWN] = 0
    query = Theirs(random_state=0, k=20)
    theirs, other = timed(lambda: list(query.query(x, y, batch_size=B)), 1)
    show(f"TypiClust, {n:,} x {WIDTH}, B = {B}", ["", "s"], [["xal", seconds], ["scikit-activeml", other]])
    assert len(set(ours)) == len(set(theirs)) == B
    return {"typiclust_speedup": other / seconds}


def bait() -> dict[str, float]:
    """Seconds of a whole query."""
    passes = made(N, WIDTH)
    _, seconds = timed(lambda: asked(passes, Bait()))
    show(f"BAIT, {N:,} x {WIDTH}, B = {B}", ["", "s"], [["xal", seconds]])
    return {"bait_s": seconds}


def over(folder: Path, rows: int, strategies: dict[str, Strategy]) -> dict[str, float]:
    """Seconds of a query of each strategy on Ray over `rows` kept vectors, warm."""
    pool, labels = million(folder, rows)
    chosen = np.sort(np.random.default_rng(1).choice(rows, LABELLED, replace=False))
    times = {}
    with RayEngine(actors=2, object_store_mb=500).open() as session:
        pool = embed_pool(session, pool, Made(), folder / "store", ())
        job = head_job(folder, pool, chosen, labels)
        session.train(job, folder / "weights.safetensors")
        ref = ModelRef(
            model=job.model, weights=folder / "weights.safetensors", version="0", shape=(), n_classes=CLASSES
        )
        coordinator = Coordinator(session=session, pool=pool, shape=(), model=ref)
        for name, strategy in strategies.items():
            for _ in range(2):  # the first is to warm up
                started = perf_counter()
                query = coordinator.query(
                    strategy, B, HashRng(0), labelled=list(job.labels), labelled_rows=chosen, labels=job.labels
                )
                times[name] = perf_counter() - started
            assert len(query) == B
    return times


class Memory(Thread):
    """The largest memory of this process, in MB, without pages of files, such as those of torch's libraries."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._ended = 0.0, Event()
        self.start()

    def run(self) -> None:
        """Look every 20 milliseconds."""
        while not self._ended.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            held = next(line for line in lines if line.startswith("RssAnon"))
            self.peak = max(self.peak, int(held.split()[1]) / 1024)

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self.join()


def on_a_million(folder: Path, rows: int) -> dict[str, float]:
    """Seconds over the whole and over a quarter of it, and the driver's peak memory."""
    memory = Memory()
    strategies = {"uherding": UncertaintyHerding(), "bait": Bait(), "badge": Badge(), "typiclust": TypiClust()}
    quarter = over(folder / "quarter", rows // 4, {"bait": strategies["bait"]})
    times = over(folder / "whole", rows, strategies)
    memory.stop()
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = [[name, value] for name, value in times.items()]
    show(f"{rows:,} x {WIDTH} kept vectors, {LABELLED} labels, B = {B}, on Ray", ["", "s"], table)
    print(f"BAIT over {rows // 4:,}: {quarter['bait']:.3g} s")
    print(f"driver: at most {memory.peak:.0f} MB of its own, {whole:.0f} MB with the files of libraries (torch, CUDA)")
    return {f"{name}_1m_s": value for name, value in times.items()} | {
        "bait_linear": times["bait"] / (4 * quarter["bait"]),
        "driver_mb": memory.peak,
    }


def main() -> None:
    """Run the parts."""
    parser = arguments(__doc__)
    parser.add_argument("--work", type=Path, help="folder for pools and kept vectors, 2 GB; default: a temporary one")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run")
    parser.add_argument("--rows", type=int, default=10**6, help="items of the large pool")
    options = parser.parse_args()
    wanted = options.only.split(",")
    measures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.work) as temporary:
        if "million" in wanted:  # first: peak memory counts all of the process
            measures |= on_a_million(Path(temporary), options.rows)
        for part in (uherding, sampled, badge, kcenter, typiclust, bait):
            if part.__name__ in wanted:
                measures |= part()
    write(options.json, measures)


if __name__ == "__main__":
    main()
