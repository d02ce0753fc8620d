"""Time of a query and a training on Ray minus the time in one process, on the demo pool after a warm-up.

    python benchmarks/overhead.py [--json FILE]

Both engines run the same entropy query over 8,000 images (query_overhead_s), the same EBAnO-Uncertainty query with 500
candidates (ebano_query_overhead_s; it is mostly computation, so Ray's two cores can make it negative), and train the
convnet on the same 300 labelled images. The first pass of each (imports, starting actors) is not counted.
"""

import tempfile
from pathlib import Path

import numpy as np
from table import arguments, seconds, show, write

from xal.core.rng import HashRng
from xal.datasets.demo import demo_pool
from xal.engine import RayEngine, SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Session
from xal.engine.tasks import ModelRef
from xal.engine.training_job import TrainJob
from xal.explainers import Ebano
from xal.models.torch.convnet import Convnet
from xal.models.train_settings import TrainSettings
from xal.store.artefacts import write_items
from xal.strategies import Strategy

SHAPE = (1, 28, 28)
STRATEGIES: dict[str, Strategy] = {
    "entropy": Strategy.named("entropy")(),
    "ebano_uncertainty": Strategy.named("ebano_uncertainty")(candidates=500),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repeats=3)
    options = parser.parse_args()
    pool = demo_pool()
    table = pool.read(np.arange(0, 8000, 8000 // 300)[:300], ["id", "image", "label"])
    index = {name: i for i, name in enumerate(pool.classes)}
    labels = {item: index[label] for item, label in zip(*(table[c].to_pylist() for c in ("id", "label")), strict=True)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_items(folder / "items.parquet", table)
        job = TrainJob(
            model=Convnet(),
            shape=SHAPE,
            n_classes=10,
            item_files=(folder / "items.parquet",),
            labels=labels,
            holdout=frozenset(list(labels)[::5]),
            settings=TrainSettings(),
            seed=0,
        )
        with SerialEngine().open() as serial, RayEngine().open() as ray:
            serial.train(job, folder / "model.safetensors")
            ref = ModelRef(
                model=Convnet(), weights=folder / "model.safetensors", version="1", shape=SHAPE, n_classes=10
            )

            def query(session: Session, name: str) -> list[str]:
                coordinator = Coordinator(session=session, pool=pool, shape=SHAPE, model=ref, explainer=Ebano())
                chosen = coordinator.query(STRATEGIES[name], 100, HashRng(0), labelled=list(labels))
                return [str(item) for item in chosen.items.ids]

            for name in ("ebano_uncertainty", "entropy"):
                if query(serial, name) != query(ray, name):
                    raise SystemExit(f"{name}: expected the same ids from both engines, got different ones")
            weights = folder / "again.safetensors"
            times = seconds(
                {
                    "query serial": lambda: query(serial, "entropy"),
                    "query ray": lambda: query(ray, "entropy"),
                    "EBAnO query serial": lambda: query(serial, "ebano_uncertainty"),
                    "EBAnO query ray": lambda: query(ray, "ebano_uncertainty"),
                    "training serial": lambda: serial.train(job, weights),
                    "training ray": lambda: ray.train(job, weights),
                },
                options.repeats,
            )
    stages = {"query": "query", "EBAnO query": "ebano_query", "training": "train"}
    measures = {f"{key}_overhead_s": times[f"{stage} ray"] - times[f"{stage} serial"] for stage, key in stages.items()}
    rows = [[s, times[f"{s} serial"], times[f"{s} ray"], times[f"{s} ray"] - times[f"{s} serial"]] for s in stages]
    show("one round on the demo pool, warm", ["", "serial s", "Ray s", "overhead s"], rows)
    write(options.json, measures)


if __name__ == "__main__":
    main()
