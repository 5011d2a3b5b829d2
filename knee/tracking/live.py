"""Runs of processes: a training's run while it trains, and runs whose process has ended.

The live run is a convenience, as `publish` writes all of it from files: MLflow may fail at any
moment, and the training goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from knee.run import termination
from knee.tracking.evidence import RunLabels, epoch_metric
from knee.tracking.store import EXECUTION_TAG, brief, connect, experiment_id, search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BOOT = Path("/proc/sys/kernel/random/boot_id")  # another at each start of the machine
NAMESPACE = Path("/proc/self/ns/pid")
MACHINE = Path("/etc/machine-id")  # the same for good; not to be published, by its own rules
FIRST_NAMESPACE = "pid:[4026531836]"  # of processes in no container, by Linux' PROC_PID_INIT_INO
CODE = ("*.py", "*.toml", "requirements*.txt", "dvc.yaml")  # results of a pipeline are not code
CLOCK_TOLERANCE_SECONDS = 2.0  # a clock that is set right shifts what a start time reads as

logger = logging.getLogger(__name__)


class TrainingRun:
    """Log to one live run; after the first failure nothing is tried again."""

    def __init__(self) -> None:
        self.run_id = ""
        self._client: MlflowClient | None = None  # as long as MLflow has not failed

    def begin(self, labels: RunLabels) -> None:
        """Close runs of killed processes and create the execution's run."""
        with self._failure_logged():
            client = connect()
            close_stale_runs(client)
            run = create_run(client, labels)
            log_labels(client, run, labels)
            self.run_id, self._client = run.info.run_id, client

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's figures; keys are columns of the training history."""
        if self._client is None:
            return
        with self._failure_logged():
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            entries = [
                Metric(epoch_metric(column), float(value), now, epoch)
                for column, value in metrics.items()
                if column != "epoch"
            ]
            self._client.log_batch(self.run_id, metrics=entries)

    def end(self, status: str, reason: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED; `reason` becomes a tag if not empty."""
        if self._client is None:
            return
        with self._failure_logged():
            if reason:
                self._client.set_tag(self.run_id, "end_reason", reason)
            self._client.set_terminated(self.run_id, status)

    @contextlib.contextmanager
    def _failure_logged(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._client = None
            logger.warning(
                "MLflow failed (%s). Training goes on; evaluate completes its run from files.",
                brief(error),
            )


@contextlib.contextmanager
def training_run(labels: RunLabels) -> Iterator[TrainingRun]:
    """Keep a live run around a training; never raise because of MLflow.

    The run ends as FINISHED, as FAILED after an exception, as KILLED after Ctrl-C or SIGTERM
    (which raises `termination.Terminated` in the training, so that it can clean up).
    """
    run = TrainingRun()
    status, reason = "FINISHED", ""
    with termination.raised():
        try:
            run.begin(labels)
            yield run
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt | termination.Terminated)
            status, reason = "KILLED" if killed else "FAILED", type(error).__name__
            raise
        finally:
            run.end(status, reason)


def create_run(client: MlflowClient, labels: RunLabels, **tags: str) -> Run:
    """Create the run of an execution, with these tags beside its own."""
    return client.create_run(
        experiment_id(client, labels.experiment),
        tags={**_origin_tags(), **labels.tags, EXECUTION_TAG: labels.execution, **tags},
        run_name=labels.name,
    )


def log_labels(client: MlflowClient, run: Run, labels: RunLabels) -> None:
    """Log the tags, parameters and data that the run lacks; the parameters it has cannot change.

    The column `Dataset` names kind and fingerprint of the data, no path.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    tags, parameters = sorted(labels.tags.items()), sorted(labels.parameters.items())
    client.log_batch(
        run.info.run_id,
        tags=[RunTag(key, value) for key, value in tags if key not in run.data.tags],
        params=[Param(key, str(v)) for key, v in parameters if key not in run.data.params],
    )
    if not (run.inputs and run.inputs.dataset_inputs):
        synthetic = labels.tags["synthetic"] == "true"
        name = "synthetic radiographs" if synthetic else "radiographs"
        digest = labels.tags["data_fingerprint"][:8]
        data = Dataset(name, digest, source_type="local", source="{}")
        context = InputTag("mlflow.data.context", f"{labels.tags['split_protocol']} split")
        client.log_inputs(run.info.run_id, [DatasetInput(data, [context])])


def _origin_tags() -> dict[str, str]:
    """Return tags of this process: where it runs, code revision, DVC experiment."""
    revision = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", *CODE) if revision else ""
    tags = {
        "host": socket.gethostname(),
        **machine(),
        "pid": str(os.getpid()),
        "process_started": f"{process_start(os.getpid()) or 0:.2f}",
        "git_revision": revision or "unknown",
        "git_dirty": str(bool(changes)).lower(),
        "mlflow.source.name": os.environ.get("DVC_STAGE", "knee-bone-health"),
        "mlflow.source.type": "LOCAL",
    }
    if revision:
        tags["mlflow.source.git.commit"] = revision
    if os.environ.get("DVC_EXP_NAME"):
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    return tags


def machine() -> dict[str, str]:
    """Return tags within which a process number means one process.

    Containers may share a host name; each counts its processes for itself. Empty where the system
    does not tell.
    """
    tags = {}
    with contextlib.suppress(OSError):
        tags["boot"] = BOOT.read_text(encoding="ascii").strip()
        tags["pid_namespace"] = str(NAMESPACE.readlink())
        tags["machine"] = hashlib.sha256(MACHINE.read_bytes()).hexdigest()[:16]
    return tags


def process_start(pid: int) -> float | None:
    """Return when a process of this machine began (seconds since 1970), None if there is none.

    A number is given to a new process after the old one ended; the start tells them apart.
    """
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _git(*arguments: str) -> str:
    """What git answers, "" if it fails."""
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def close_stale_runs(client: MlflowClient) -> int:
    """Close the runs of processes of this machine that have ended; return how many.

    SIGKILL and power cuts leave a process no chance to close its own.
    """
    stale = stale_runs(client)
    for run in stale:
        tags = run.data.tags
        reason = f"process {tags.get('pid')} on {tags['host']} ended without closing its run"
        client.set_tag(run.info.run_id, "end_reason", reason)
        client.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def stale_runs(client: MlflowClient) -> list[Run]:
    """Return the runs called RUNNING of processes of this machine that have ended."""
    query = f"attributes.status = 'RUNNING' AND tags.host = '{socket.gethostname()}'"
    return [run for run in search_runs(client, query) if not _is_alive(run.data.tags)]


def _is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run's tags lives; True where that is not ours to judge.

    Which is so for processes of another container, and where the tags name no process. What ran
    on this machine before it was started again, and in no container, has ended.
    """
    here = machine()
    if not tags.get("pid", "").isdigit():
        return True
    if "pid_namespace" in tags and tags["pid_namespace"] != here.get("pid_namespace"):
        return True
    if "boot" in tags and tags["boot"] != here.get("boot"):
        same = tags.get("machine") == here.get("machine") is not None
        return not same or tags.get("pid_namespace") != FIRST_NAMESPACE
    started = process_start(int(tags["pid"]))
    recorded = float(tags.get("process_started") or 0)
    return started is not None and abs(started - recorded) < CLOCK_TOLERANCE_SECONDS
