"""A Ray that xal starts: nothing listens beyond loopback, and a token is wanted."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, subprocess, sys
import psutil
from xal.engine import RayEngine

with RayEngine(cpus=2, object_store_mb=100).open() as session:
    session.warm()
    import ray
    ray.get([actor.__ray_ready__.remote() for actor in session._actors])
    mine = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    listening = [c.laddr.ip for c in psutil.net_connections("inet") if c.status == "LISTEN" and c.pid in mine]
    address = ray.get_runtime_context().gcs_address
    stranger = "import ray, sys; ray.init(address=sys.argv[1], logging_level='error'); print('in')"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    command = [sys.executable, "-c", stranger, address]
    strangers = [
        subprocess.Popen(command, env=environment | extra, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for extra in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong-token-wrong-token-wrong-token"})
    ]
    for each in strangers:
        listening.append("let in" if "in" in each.communicate(timeout=120)[0].split() else "kept out")
print(json.dumps(listening))
"""


@pytest.mark.ray
def test_nothing_listens_beyond_loopback_and_strangers_are_kept_out() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=280)
    *addresses, without, wrong = json.loads(done.stdout.splitlines()[-1])
    assert len(addresses) > 5 and {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert without == wrong == "kept out"


@pytest.mark.ray
def test_a_program_that_imported_ray_before_still_gets_one() -> None:
    script = "import ray; from xal.engine import RayEngine; RayEngine(cpus=2, object_store_mb=100).open().close()"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
