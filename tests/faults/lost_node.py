"""A query on a cluster of three nodes, one of which is lost in mid-pass: `lost_node.py POOL FOLDER SEED`.

Prints the ids with and without the loss as JSON.
"""

import json
import random
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from xal.engine.ray.engine import keep_private

keep_private()

import ray
from ray.cluster_utils import Cluster

from tests.engine.asking import model_ref
from tests.faults.faulty import Sound
from xal.core.rng import HashRng
from xal.data.pool import Pool
from xal.engine import RayEngine, SerialEngine
from xal.engine.coordinator import Coordinator
from xal.engine.engine import Session


def ask(session: Session, pool: Path, folder: Path) -> list[str]:
    where = {"session": session, "pool": Pool.open(pool), "shape": (1, 12, 12), "model": model_ref(folder)}
    return Coordinator(**where).query(Sound(seconds=0.3), 50, HashRng(0)).items.ids.tolist()


def main(pool: Path, folder: Path, seed: int) -> None:
    quiet = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=2, **quiet) for _ in range(2))}
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    with SerialEngine(batch=16).open() as serial:
        expected = ask(serial, pool, folder)
    after = random.Random(seed).uniform(2, 8)
    with RayEngine(batch=16, actors=2).open() as session:
        session.warm()
        ask(session, pool, folder)  # the actors are there now
        actors = [each for each in ray._private.state.actors().values() if each["State"] == "ALIVE"]
        where = {each["Address"]["NodeID"] for each in actors if "_Actor" in each["ActorClassName"]} & nodes.keys()
        lost = sorted(where)[0]
        alive = [len([each for each in ray.nodes() if each["Alive"]])]
        threading.Timer(after, cluster.remove_node, (nodes[lost],), {"allow_graceful": False}).start()
        found = ask(session, pool, folder)
        alive.append(len([each for each in ray.nodes() if each["Alive"]]))
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps({"expected": expected, "found": found, "alive": alive, "after": after}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
