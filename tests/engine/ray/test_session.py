"""What the cluster cannot hold is refused."""

import pytest
import torch

from xal.engine import RayEngine
from xal.errors import ResourceError


@pytest.mark.ray
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actor_gpus": 1}, "2 GPUs are asked for, the cluster has 0"),
        ({"train_gpus": 1}, "1 GPUs are asked for"),
        ({"actors": 8, "actor_cpus": 0.5}, "need 5 CPUs, the cluster has 4"),
        ({"train_workers": 4, "train_cpus": 1}, "4 training workers of 1 CPUs"),
    ],
)
def test_what_the_cluster_cannot_hold_is_refused(ray_session: None, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        RayEngine(**settings).open()  # type: ignore[arg-type]
