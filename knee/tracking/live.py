"""A training's run while it trains. MLflow may fail at any moment; the training goes on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from knee.run import termination
from knee.tracking.evidence import epoch_metric
from knee.tracking.processes import close_stale_runs, origin_tags
from knee.tracking.publishing import replay_pending
from knee.tracking.store import (
    EXECUTION_TAG,
    Store,
    brief,
    connect,
    experiment_id,
    find_run,
    mark_silent,
)
from knee.tracking.writing import log_dataset, log_parameters

logger = logging.getLogger(__name__)


class TrainingRun:
    """Logs to one live run; after the first failure it stays silent."""

    def __init__(self) -> None:
        self.run_id: str | None = None
        self._store: Store | None = None
        self._silent = False
        self._logged: set[tuple[str, int]] = set()

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's figures; keys are columns of the training history."""
        self._attempt(lambda: self._log_epoch(epoch, metrics))

    def begin(
        self,
        execution: str,
        experiment: str,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        """Create the execution's run, or take up the one that it has."""

        def create() -> None:
            self._store = store = connect()
            close_stale_runs(store)
            run = find_run(store, execution)
            all_tags = {**tags, **origin_tags(), EXECUTION_TAG: execution}
            if run is None:
                run = store.client.create_run(
                    experiment_id(store, experiment), tags=all_tags, run_name=name
                )
            else:
                store.client.update_run(run.info.run_id, status="RUNNING")
                self._take_up(store, run, all_tags)
            self.run_id = run.info.run_id
            log_dataset(store, run, tags)
            log_parameters(store, run, parameters)

        self._attempt(create)

    def end(self, status: str, reason: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED; `reason` becomes a tag if not empty."""

        def close() -> None:
            if self._store is not None and self.run_id is not None:
                if reason:
                    self._store.client.set_tag(self.run_id, "end_reason", reason)
                self._store.client.set_terminated(self.run_id, status)

        self._attempt(close)

    def _take_up(self, store: Store, run: Any, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            store.client.set_tag(run.info.run_id, key, value)
        for name in run.data.metrics:
            logged = store.client.get_metric_history(run.info.run_id, name)
            self._logged |= {(name, metric.step) for metric in logged}

    def _log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        if self._store is None or self.run_id is None:
            return
        now = int(time.time() * 1000)
        named = {
            epoch_metric(key): float(value) for key, value in metrics.items() if key != "epoch"
        }
        fresh = {key: value for key, value in named.items() if (key, epoch) not in self._logged}
        entries = [Metric(key, value, now, epoch) for key, value in fresh.items()]
        self._store.client.log_batch(self.run_id, metrics=entries)
        self._logged |= {(key, epoch) for key in fresh}

    def _attempt(self, action: Callable[[], None]) -> None:
        if self._silent:
            return
        try:
            action()
        except Exception as error:
            self._silent = True
            mark_silent()
            logger.warning(
                "MLflow failed (%s). Training goes on; its run is completed from files later.",
                brief(error),
            )


@contextlib.contextmanager
def training_run(
    *,
    execution: str,
    experiment: str,
    name: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[TrainingRun]:
    """A live run around a training; never raises because of MLflow.

    First, runs of this machine that were killed are closed and waiting ones are replayed. The
    run ends as FINISHED, as FAILED after an exception, as KILLED after Ctrl-C or SIGTERM
    (which raises `termination.Terminated` in the training, so that it can clean up).
    """
    run = TrainingRun()
    status, reason = "FINISHED", ""
    with termination.raised():
        try:
            run.begin(execution, experiment, name, parameters, tags)
            replay_pending()
            yield run
        except (KeyboardInterrupt, termination.Terminated) as error:
            status, reason = "KILLED", type(error).__name__
            raise
        except BaseException as error:
            status, reason = "FAILED", type(error).__name__
            raise
        finally:
            run.end(status, reason)
