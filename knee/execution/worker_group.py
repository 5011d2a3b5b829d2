"""Processes that do one piece of work together: begun, watched and ended as one.

Who begins them is on this machine; they lie where the settings say: here, on other machines by ssh,
or where srun places them. All of them see one folder, in which they tell their addresses.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from knee.execution.place import ExecutionError, WorkerLost
from knee.run import parameters
from knee.storage import artifacts

POLL_SECONDS: Final = 0.5
END_SECONDS: Final = 5.0  # to end by themselves
LATE_SECONDS: Final = 120.0  # after which a file system shows what another machine has written
LOG: Final = "workers.log"  # what the workers say, in their folder
STARTED: Final = "started"  # there once they reach each other
SSH: Final = ("ssh", "-o", "BatchMode=yes")
ROOT: Final = Path(__file__).parents[2]  # where the package lies


@dataclass(frozen=True)
class Worker:
    """One process of a group, as it knows itself.

    Attributes:
        folder: of the group.
        count: of workers in it.
        start_seconds: the time in which they have to reach each other.
        number: of this one, from 0.
        host: how the others reach it.
    """

    folder: Path
    count: int
    start_seconds: int
    number: int
    host: str

    @classmethod
    def of(cls, words: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Return the worker of a command line; what it does not say Slurm tells."""
        folder, count, start_seconds, *rest = words
        number, host = rest or (
            environment["SLURM_PROCID"],
            environment.get("SLURMD_NODENAME", socket.gethostname()),
        )
        return cls(Path(folder), int(count), int(start_seconds), int(number), host)

    def set_limits(self) -> None:
        """End this process with its standard input, or if it has not started in time.

        So it does not outlive who began it. A library that waits for others may hold Python's lock
        meanwhile, so that no thread reads the input: then the second limit, which needs no lock,
        ends it some seconds after who began it has given up.
        """
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
        faulthandler.dump_traceback_later(self.start_seconds + 2 * END_SECONDS, exit=True)

    def meet(self) -> list[str]:
        """Tell a free port, wait until all have, and return HOST:PORT of each, by number."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        artifacts.write_text(_address(self.folder, self.number), f"{host}:{port}")
        while _missing(self.folder, self.count):
            time.sleep(POLL_SECONDS)
        files = (_address(self.folder, number) for number in range(self.count))
        return [file.read_text(encoding="utf-8") for file in files]

    def tell_started(self) -> None:
        """Say that all reach each other."""
        faulthandler.cancel_dump_traceback_later()
        if self.number == 0:
            artifacts.write_text(self.folder / STARTED, "")

    def wait_for_end(self) -> None:
        """Wait until who began this process ends it: others may still need it."""
        while True:
            time.sleep(END_SECONDS)

    def tell_failure(self, message: str) -> None:
        """Say why the work cannot be done: it is not tried again."""
        artifacts.write_text(self.folder / f"failed-{self.number}", message)


class WorkerGroup:
    """The processes, seen from the one that begins them."""

    def __init__(self, settings: parameters.Execution, count: int) -> None:
        """Take where `count` processes are to lie."""
        self.count, self.retries = count, settings.retries
        self._settings = settings

    def run(self, module: str, folder: Path, is_finished: Callable[[], bool]) -> None:
        """Run `module` in each process, until `is_finished`, which is asked all the time.

        Its `main` makes a `Worker` of the command line, and waits at its end. `folder` is a new
        one, for this run alone, on a file system of all machines.

        Raises:
            WorkerLost: a process ended in between.
            ExecutionError: a process did not come in time, or failed.
        """
        processes: list[subprocess.Popen[bytes]] = []
        try:
            with (folder / LOG).open("ab") as log_file:
                for command in self._commands(module, folder.absolute()):
                    processes.append(_begun(command, log_file))
            self._watch(processes, folder, is_finished)
        finally:
            _end(processes)

    def _commands(self, module: str, folder: Path) -> list[list[str]]:
        seconds = self._settings.start_seconds
        words = [sys.executable, "-m", module, str(folder), str(self.count), str(seconds)]
        if self._settings.launcher == "srun":
            cpus = os.environ.get("SLURM_CPUS_PER_TASK")  # which a step does not inherit
            wanted = [f"--ntasks={self.count}", *([f"--cpus-per-task={cpus}"] if cpus else [])]
            return [["srun", *wanted, "--kill-on-bad-exit=1", *words]]
        hosts = self._hosts()
        commands = [[*words, str(number), host] for number, host in enumerate(hosts)]
        if self._settings.launcher == "ssh":
            place = f"cd {shlex.quote(str(Path.cwd()))} && PYTHONPATH={shlex.quote(str(ROOT))}"
            for number, host in [*enumerate(hosts)][1:]:
                remote = f"{place} exec {shlex.join(commands[number])}"
                commands[number] = [*SSH, host, remote]
        return commands

    def _hosts(self) -> Sequence[str]:
        """Of the workers, as far as they are known here."""
        if self._settings.launcher == "srun":
            return ["a node of Slurm"] * self.count
        is_local = self._settings.launcher == "local"
        return ["127.0.0.1"] * self.count if is_local else self._settings.hosts

    def _watch(
        self,
        processes: Sequence[subprocess.Popen[bytes]],
        folder: Path,
        is_finished: Callable[[], bool],
    ) -> None:
        last_start = time.monotonic() + self._settings.start_seconds
        while not is_finished():
            statuses = [process.poll() for process in processes]
            for failure in sorted(folder.glob("failed-*")):
                name = self._named([int(failure.name.rpartition("-")[2])])
                told = failure.read_text(encoding="utf-8")
                raise ExecutionError(f"{name}: {told} ({folder / LOG} has all that was said)")
            if any(status is not None for status in statuses):
                raise WorkerLost(self._ended(statuses))
            if time.monotonic() > last_start and not (folder / STARTED).exists():
                raise ExecutionError(self._late(folder))
            time.sleep(POLL_SECONDS)

    def _ended(self, statuses: Sequence[int | None]) -> str:
        """Which processes ended, and how."""
        if self._settings.launcher == "srun":
            return f"srun ended with status {statuses[0]}"
        causes = {
            number: signal.Signals(-status).name if status < 0 else f"status {status}"
            for number, status in enumerate(statuses)
            if status is not None
        }
        return ", ".join(f"{self._named([number])}: {how}" for number, how in causes.items())

    def _late(self, folder: Path) -> str:
        """What to say once the time to start is over."""
        seconds = f"{self._settings.start_seconds} s (execution.start_seconds)"
        if missing := _missing(folder, self.count):
            text = f"{self._named(missing)} did not come within {seconds}"
        else:
            text = (
                f"all {self.count} workers came, but did not reach each other within {seconds}: "
                "no port between their machines may be closed"
            )
        return f"{text}; {folder / LOG} has what they said"

    def _named(self, numbers: Iterable[int]) -> str:
        hosts = self._hosts()
        return ", ".join(f"worker {number + 1} ({hosts[number]})" for number in numbers)


def _begun(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # Ctrl+C is for who began them
        )
    except FileNotFoundError as error:
        raise ExecutionError(
            f"execution.launcher: there is no command {command[0]} here: give another launcher"
        ) from error


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End those that still run: by the end of their input, then by force."""
    for process in processes:
        with contextlib.suppress(OSError):
            if process.stdin:
                process.stdin.close()
    last = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _exit_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)  # no signal ends a process that waits for TensorFlow's peers


def _address(folder: Path, number: int) -> Path:
    return folder / f"address-{number}"


def _missing(folder: Path, count: int) -> list[int]:
    """Numbers of the workers that have not come."""
    return [number for number in range(count) if not _address(folder, number).exists()]
