"""Ray Jobs: hand a folder to a cluster, and follow what the job in it says.

The command that the cluster's shell runs is a constant; all that a user chose travels in files.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.job_submission import JobStatus, JobSubmissionClient

from xal.errors import ResourceError

ENTRYPOINT = "python -m xal.cli job"


def submit(folder: Path, address: str, cpus: float = 0) -> str:
    """Upload `folder` as the working directory of a new job; returns its id.

    cpus: held by the job's own process, on any node; 0: it runs on the head. Raises ResourceError where no Jobs
    server answers, or it wants another token.
    """
    client = _client(address)
    identity = f"xal-{uuid.uuid4().hex[:12]}"
    try:
        client.submit_job(
            entrypoint=ENTRYPOINT,
            submission_id=identity,
            runtime_env={"working_dir": str(folder)},
            entrypoint_num_cpus=cpus or None,
        )
    except Exception as error:  # the client raises RuntimeError for whatever the server answers
        raise _refused(address, error) from error
    return identity


def follow(identity: str, address: str, write: Callable[[str], Any]) -> bool:
    """Pass the job's log on until it ends; whether it succeeded."""
    client = _client(address)

    async def tail() -> None:
        async for lines in client.tail_job_logs(identity):
            write(lines)

    try:
        asyncio.run(tail())
        status = client.get_job_status(identity)
    except RuntimeError as error:
        raise _refused(address, error) from error
    return bool(status == JobStatus.SUCCEEDED)


def _client(address: str) -> Any:
    try:
        return JobSubmissionClient(address)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, by what is wrong
        raise _refused(address, error) from error


def _refused(address: str, error: Exception) -> ResourceError:
    why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ResourceError(
        f"the Ray Jobs server at {address}: {why}. Expected the dashboard's address, http://HOST:8265, and the "
        "cluster's token in RAY_AUTH_TOKEN, or the file RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token"
    )
