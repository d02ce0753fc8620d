"""`xal submit` against a real cluster: `ray start --head` on loopback, token authentication on."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from tests.recipes import RUN, outcome, small, write_pool, write_recipe
from xal.campaign.experiment import run_experiment
from xal.cli.app import app
from xal.core.progress import Reporter
from xal.errors import XalError
from xal.store.run import read_run

pytestmark = pytest.mark.ray
TOKEN = "a-token-of-this-test-and-of-no-use-elsewhere"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """(address of its dashboard, environment that holds the token)."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",  # jobs run the `python` that the head finds
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    port = free_port()
    ray = str(Path(sys.executable).with_name("ray"))
    options = [f"--dashboard-port={port}", "--dashboard-host=127.0.0.1", f"--port={free_port()}", "--num-cpus=4"]
    options.append(f"--dashboard-agent-listen-port={free_port()}")  # the default is one for the machine
    command = [ray, "start", "--head", "--block", "--object-store-memory=100000000", *options]
    with (home / "log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        done = subprocess.run(
            [ray, "job", "list", "--address", address], env=environment, capture_output=True, check=False
        )
        if not done.returncode:
            break
        assert head.poll() is None, (home / "log").read_text()
        time.sleep(0.5)
    else:
        pytest.fail((home / "log").read_text() + done.stderr.decode())
    yield address, environment
    processes = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
    head.terminate()
    _, alive = psutil.wait_procs(processes, timeout=3)
    for process in alive:
        process.kill()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    engine = {"name": "ray", "batch": 16, "actors": 1, "object_store_mb": 100}
    write_recipe(folder / "recipe.yaml", small(write_pool(folder / "pool"), engine=engine))
    serial = small(folder / "pool")
    run_experiment(serial, folder / "expected", Reporter(quiet=True))
    return folder / "recipe.yaml"


def submit(recipe: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "xal.cli", "submit", str(recipe), *options]


def test_it_follows_the_log_to_the_end(cluster: tuple[str, dict[str, str]], recipe: Path, tmp_path: Path) -> None:
    address, environment = cluster
    out = tmp_path / "it's; touch oops"  # no shell may see this
    changes = ("--set", "budget.rounds=1", "--set", "engine={name: serial}")  # on actors: the next test
    command = submit(recipe, "--address", address, "--out", str(out), *changes)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "round 1/1 evaluate" in done.stdout and "it continues without this command" in done.stdout
    run, expected = read_run(out / RUN), read_run(recipe.parent / "expected" / RUN)
    assert run.state == "finished" and not list(tmp_path.rglob("oops*"))
    assert [item.id for item in run.queried] == [item.id for item in expected.queried if item.round < 2]


def test_it_goes_on_when_its_client_is_killed(
    cluster: tuple[str, dict[str, str]], recipe: Path, tmp_path: Path
) -> None:
    address, environment = cluster
    out = tmp_path / "runs"
    command = submit(recipe, "--address", address, "--out", str(out))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            if "it continues without" in line:
                break
        client.send_signal(signal.SIGKILL)
    for _ in range(60):
        status = CliRunner().invoke(app, ["status", str(out)])
        if re.search(r"\bfinished", status.stdout):
            break
        time.sleep(2)
    assert outcome(read_run(out / RUN)) == outcome(read_run(recipe.parent / "expected" / RUN))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"RAY_AUTH_TOKEN": "wrong-token-wrong-token-wrong-token"}, [], "RAY_AUTH_TOKEN"),
        ({}, ["--address", "http://127.0.0.1:9"], "Ray Jobs server at http://127.0.0.1:9"),
    ],
)
def test_mistakes(
    cluster: tuple[str, dict[str, str]], recipe: Path, change: dict[str, str], options: list[str], message: str
) -> None:
    address, environment = cluster
    command = submit(recipe, "--address", address, "--out", "/nowhere/runs", *options)
    done = subprocess.run(command, env=environment | change, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "relative"], "an absolute path that all nodes see"),
        (["--set", "budget.rounds=-1"], "budget.rounds"),
        (["--with", "/no/such/file"], "no file or folder /no/such/file"),
        (["--with", "/no/recipe.yaml"], "--with: expected different file names"),
        (["--set", "pool.source=pool/", "--set", "pool.test=s3://bucket/test"], "pool.source: pool/ is a path of"),
    ],
)
def test_mistakes_that_no_cluster_is_asked_about(recipe: Path, options: list[str], message: str) -> None:
    command = ["submit", str(recipe), "--address", "http://127.0.0.1:9", "--out", "/nowhere/runs", *options]
    raised = CliRunner().invoke(app, command).exception
    assert isinstance(raised, XalError) and message in str(raised)


def test_a_failing_job_is_said_to_fail(cluster: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environment = cluster
    recipe = write_recipe(tmp_path / "recipe.yaml", small(tmp_path / "no-pool"))
    command = submit(recipe, "--address", address, "--out", str(tmp_path / "runs"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and "failed; see its log" in done.stderr
    assert "error: no pool at" in done.stdout and "Traceback" not in done.stdout + done.stderr
