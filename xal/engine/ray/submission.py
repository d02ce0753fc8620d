"""Ray Jobs: submit a folder to a cluster as a job, and follow the job's log.

The cluster's shell runs a constant command; everything that a user chose travels in files.
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
AGENT_S = 20  # seconds that the head node may take to start its agent
RECONNECT = 60  # attempts to reconnect, one per second


def submit(folder: Path, address: str, cpus: float = 0) -> str:
    """Upload `folder` as the working directory of a new job; returns its id.

    cpus: CPUs of the job's process, on any node; 0: it runs on the head node. Raises ResourceError if no Jobs server
    answers, or it refuses the token.
    """
    client = _client(address)
    identity = f"xal-{uuid.uuid4().hex[:12]}"
    job = {"entrypoint": ENTRYPOINT, "submission_id": identity, "runtime_env": {"working_dir": str(folder)}}
    for attempt in range(AGENT_S):
        try:
            client.submit_job(**job, entrypoint_num_cpus=cpus or None)
            break
        except Exception as error:  # the client raises RuntimeError for every refusal
            if "No available agent" not in str(error) or attempt == AGENT_S - 1:  # the head node may still be starting
                raise _unreachable(address, error) from error
            time.sleep(1)
    return identity


def follow(identity: str, address: str, write: Callable[[str], Any]) -> bool:
    """Write the job's log with `write` until the job ends; returns whether it succeeded.

    Reconnects if the connection is lost; raises ResourceError after RECONNECT failures in a row.
    """
    client = _client(address)
    written = failures = 0

    async def tail() -> None:
        nonlocal written
        seen = 0
        async for lines in client.tail_job_logs(identity):  # every connection starts at the beginning of the log
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
                raise _unreachable(address, error) from error
        else:
            if status.is_terminal():
                return bool(status == JobStatus.SUCCEEDED)
        time.sleep(1)


def _client(address: str) -> Any:
    try:
        return JobSubmissionClient(address)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ResourceError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ResourceError(
        f"the Ray Jobs server at {address}: {reason}. Expected the dashboard's address, http://HOST:8265, and the "
        "cluster's token in RAY_AUTH_TOKEN, or the file RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token"
    )
