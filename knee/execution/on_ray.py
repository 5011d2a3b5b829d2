"""The place of work that is a Ray cluster (https://docs.ray.io, Ray Core); the only user of ray.

Ray unpickles and runs what its driver sends: whoever has the cluster's token runs code on all
nodes. So nothing is sent to a cluster without a token, and films and features travel without TLS
only where the settings call the network trusted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from knee.execution import ray_tls, same_bits
from knee.execution.place import ExecutionError, Result, Value, WorkerLost
from knee.execution.processes import Processes
from knee.run import parameters

try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise ExecutionError(
        "execution.engine: ray is not installed: run make CLUSTER=1 setup, here and on every node"
    ) from missing

CONNECT_SECONDS: Final = 5.0
POLL_SECONDS: Final = 1.0
LOST_AFTER_POLLS: Final = 5  # without an answer of the head
AHEAD: Final = 2  # tasks a worker, so that none waits for this process
WORKER_IS_GONE: Final = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.OutOfMemoryError,
    exceptions.ObjectLostError,
    exceptions.TaskUnschedulableError,
)
LOST: Final = (
    "the cluster is lost: what is finished is kept; run the same command again, with "
    "execution=local too"
)
log = logging.getLogger(__name__)


def _done(task: Callable[..., Any], *arguments: Any) -> Any:
    """Do a task on a worker."""
    return task(*arguments)


class RayPlace:
    """Workers on the nodes of a cluster, of those that compute the same bits."""

    in_process = False

    def __init__(self, settings: parameters.Execution, address: tuple[str, int]) -> None:
        """Take what is connected to."""
        self.window, self.retries = AHEAD, settings.retries
        self.has_files = settings.nodes_have_files
        self._settings, self._address = settings, address
        self._remote = ray.remote(max_retries=0)(_done)
        self._options: dict[str, Any] = {"num_cpus": settings.cpus, "num_gpus": settings.gpus}
        self._nodes: set[str] = set()
        self._open: set[Future[Any]] = set()
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._lost = ""  # why there is no cluster any more

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Send `task` and its arguments to a worker."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()  # what is sent cannot be taken back
        with self._lock:
            if self._lost:
                raise ExecutionError(self._lost)
            self._open.add(future)
        reference = self._remote.options(**self._options).remote(task, *arguments)

        def settle(made: Future[Any]) -> None:
            with self._lock:
                is_awaited = future in self._open
                self._open.discard(future)
            if not is_awaited:
                return
            error = made.exception()
            if error is None:
                future.set_result(made.result())
            else:
                future.set_exception(_translated(error))

        reference.future().add_done_callback(settle)
        return future

    def share(self, value: Value) -> Value:
        """Put `value` where each node reads it once; arrays are not copied there."""
        reference: Value = ray.put(value)
        return reference

    def choose_nodes(self, trial: Callable[[], str]) -> None:
        """Wait for nodes with what a task needs; leave out those that compute other bits."""
        nodes = self._fitting_nodes()
        with Processes(1) as here:  # where our own tasks would be done
            ours = here.submit(same_bits.facts, trial).result()
        pinned = {
            node: self._remote.options(
                **self._options,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote(same_bits.facts, trial)
            for node in nodes
        }
        others = {}
        for node, reference in pinned.items():
            try:
                different = same_bits.difference(ours, ray.get(reference))
            except exceptions.RayError as error:
                different = f"cannot do the work: {_first_line(error)}"
            if different:
                others[node] = different
                log.warning("node %s gets no work: %s", nodes[node]["NodeName"], different)
        self._nodes = {*nodes} - {*others}
        if not self._nodes:
            raise ExecutionError(
                f"no node computes what this machine does ({next(iter(others.values()))}): run dvc "
                "on a machine like the nodes, with the same packages"
            )
        workers = sum(self._workers(nodes[node]["Resources"]) for node in self._nodes)
        self.window = AHEAD * workers
        # Else waiting tasks are queued at one node while another has nothing to do.
        self._options["scheduling_strategy"] = "SPREAD"
        self._options["label_selector"] = {"ray.io/node-id": f"in({','.join(sorted(self._nodes))})"}
        log.info("cluster: %d nodes, %d tasks at once", len(self._nodes), workers)

    def _fitting_nodes(self) -> dict[str, Mapping[str, Any]]:
        asked, end = self._settings, time.monotonic() + self._settings.start_seconds
        while True:
            alive = [node for node in ray.nodes() if node["Alive"]]
            fitting = {one["NodeID"]: one for one in alive if self._workers(one["Resources"])}
            if fitting:
                return fitting
            if time.monotonic() > end:
                there = [
                    f"{one['NodeName']} ({one['Resources'].get('CPU', 0):g} CPUs, "
                    f"{one['Resources'].get('GPU', 0):g} GPUs)"
                    for one in alive
                ]
                raise ExecutionError(
                    f"no node with {asked.cpus} CPUs and {asked.gpus} GPUs came within "
                    f"{asked.start_seconds} s (execution.start_seconds); there are: "
                    f"{', '.join(there) or 'none'}"
                )
            time.sleep(POLL_SECONDS)

    def _workers(self, resources: Mapping[str, float]) -> int:
        """How many tasks a node does at once."""
        counts = [int(resources.get("CPU", 0) // self._settings.cpus)]
        if self._settings.gpus:
            counts.append(int(resources.get("GPU", 0) // self._settings.gpus))
        return min(counts)

    def watch(self) -> None:
        """Fail what is awaited once the head, or every node with the same bits, is gone."""
        silent = 0
        while not self._closed.wait(POLL_SECONDS):
            silent = 0 if _answers(self._address) else silent + 1
            if silent >= LOST_AFTER_POLLS:
                self._fail(LOST)
                return
            if silent or not self._nodes:
                continue
            with contextlib.suppress(exceptions.RayError, RuntimeError, OSError):
                alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
                if not alive & self._nodes:
                    self._fail(f"every node with work is gone, and {LOST}")
                    return

    def close(self) -> None:
        """End the watching."""
        self._closed.set()

    def _fail(self, message: str) -> None:
        with self._lock:
            self._lost, failed, self._open = message, self._open, set()
        for future in failed:
            future.set_exception(ExecutionError(message))


@contextlib.contextmanager
def connected(settings: parameters.Execution, trial: Callable[[], str]) -> Iterator[RayPlace]:
    """The cluster of `settings`, its nodes checked by `trial`.

    Raises:
        ExecutionError: it is not safe, not there, of other versions, or is lost on the way.
    """
    _check_security(settings, os.environ)
    address = _address(settings, os.environ)
    if not _answers(address):
        raise ExecutionError(
            f"no cluster answers at {address[0]}:{address[1]} (execution.address): start it with "
            "ray start, see docs/clusters.md, or give execution=local"
        )
    ray_tls.check_handshake(address, os.environ)
    _connect(address)
    place = RayPlace(settings, address)
    watcher = threading.Thread(target=place.watch, daemon=True)
    try:
        watcher.start()
        place.choose_nodes(trial)
        yield place
    except exceptions.RayError as error:
        raise ExecutionError(f"{LOST} ({_first_line(error)})") from error
    finally:
        place.close()
        if _answers(address):  # else it would wait for the head's answer
            ray.shutdown()


def _connect(address: tuple[str, int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)  # which Ray would replace
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(
            address=f"{address[0]}:{address[1]}",
            runtime_env={"py_modules": [str(Path(__file__).parents[1])]},  # this very library
            log_to_driver=False,
            configure_logging=False,
        )
    except (exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise ExecutionError(
            f"the cluster at {address[0]}:{address[1]} refuses: {_first_line(error)}"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _check_security(settings: parameters.Execution, environment: Mapping[str, str]) -> None:
    if environment.get("RAY_AUTH_MODE", "").lower() != "token":
        raise ExecutionError(
            "execution.engine: ray without a token runs whatever anyone sends: set "
            "RAY_AUTH_MODE=token, here and where ray is started (docs/clusters.md)"
        )
    if not ray_tls.is_used(environment) and not settings.trusted_network:
        raise ExecutionError(
            "execution.engine: films and features would travel in the clear: set RAY_USE_TLS=1 "
            "and its certificates (docs/clusters.md), or execution.trusted_network=true"
        )


def _address(settings: parameters.Execution, environment: Mapping[str, str]) -> tuple[str, int]:
    """Host and port of the cluster's head."""
    text = environment.get("RAY_ADDRESS", "") if settings.address == "auto" else settings.address
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ExecutionError(
            f"execution.address: {text!r} is no HOST:PORT of a cluster's head: give one, or set "
            "RAY_ADDRESS"
        )
    return host, int(port)


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _translated(error: BaseException) -> BaseException:
    """The exception of a task's future: the task's own, or that its worker is gone."""
    if isinstance(error, exceptions.RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, Exception) else RuntimeError(_first_line(error))
    if isinstance(error, WORKER_IS_GONE):
        return WorkerLost(_first_line(error))
    return ExecutionError(f"{LOST} ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
