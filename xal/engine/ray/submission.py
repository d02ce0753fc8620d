"""Ray Jobs: hand a folder to a cluster, and follow what the job in it says.

The command that the cluster's shell runs is a constant; all that a user chose travels in files.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.job_submission import JobStatus, JobSubmissionClient

from xal.errors import ResourceError

ENTRYPOINT = "python -m xal.cli job"
AGENT_S = 20  # seconds that a head may take to start its agent
RECONNECT = 60  # times, a second apart


def submit(folder: Path, address: str, cpus: float = 0) -> str:
    """Upload `folder` as the working directory of a new job; returns its id.

    cpus: held by the job's own process, on any node; 0: it runs on the head. Raises ResourceError where no Jobs
    server answers, or it wants another token.
    """
    client = _client(address)
    identity = f"xal-{uuid.uuid4().hex[:12]}"
    job = {"entrypoint": ENTRYPOINT, "submission_id": identity, "runtime_env": {"working_dir": str(folder)}}
    for attempt in range(AGENT_S):
        try:
            client.submit_job(**job, entrypoint_num_cpus=cpus or None)
            break
        except Exception as error:  # the client raises RuntimeError for whatever the server answers
            if "No available agent" not in str(error) or attempt == AGENT_S - 1:  # else a head that still starts
                raise _refused(address, error) from error
            time.sleep(1)
    return identity


def follow(identity: str, address: str, write: Callable[[str], Any]) -> bool:
    """Pass the job's log on until it ends; whether it succeeded. A lost connection is made again."""
    client = _client(address)
    written = failures = 0

    async def tail() -> None:
        nonlocal written
        seen = 0
        async for lines in client.tail_job_logs(identity):  # from the start, each time
            write(lines[max(written - seen, 0) :])
            seen += len(lines)
            written = max(written, seen)

    while True:
        try:
            asyncio.run(tail())
            status = client.get_job_status(identity)
            failures = 0
        except Exception as error:  # whatever http and websockets raise
            failures += 1
            if failures > RECONNECT:
                raise _refused(address, error) from error
        else:
            if status.is_terminal():
                return bool(status == JobStatus.SUCCEEDED)
        time.sleep(1)


def _client(address: str) -> Any:
    try:
        return JobSubmissionClient(address)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, by what is wrong
        raise _refused(address, error) from error


def _refused(address: str, error: Exception) -> ResourceError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ResourceError(
        f"the Ray Jobs server at {address}: {reason}. Expected the dashboard's address, http://HOST:8265, and the "
        "cluster's token in RAY_AUTH_TOKEN, or the file RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token"
    )
