"""The watch over a Ray that xal started ends the program only for a Ray that was killed."""

import subprocess
import sys

import pytest

CODE = """
import time
import ray
from xal.engine import RayEngine
with RayEngine(cpus=2, object_store_mb=100).open() as session:
    print("shut down by its user", flush=True)
    ray.shutdown()
    time.sleep(2)
print("goes on", flush=True)
"""


@pytest.mark.ray
def test_a_ray_that_its_user_shuts_down_ends_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("goes on\n"), done.stderr
