"""A node lost in mid-pass, and one that is added because an engine waits for it."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.faults.test_kills import MARK, SEED, strays
from tests.recipes import write_pool


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_lost_node_costs_no_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    pool = write_pool(tmp_path / "pool", n=1200, files=4)
    script = Path(__file__).with_name("lost_node.py")
    command = [sys.executable, str(script), str(pool), str(tmp_path), str(SEED)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=500)
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"seed {SEED}: a node with a scoring actor lost {result['after']:.1f} s into the pass, the same 50 ids")
    assert result["alive"] == [3, 2]
    assert result["found"] == result["expected"] and len(result["found"]) == 50
    monkeypatch.delenv(MARK)
    assert not strays(mark)
