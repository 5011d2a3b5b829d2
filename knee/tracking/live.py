"""A training's run while it trains: a convenience, as `publish` writes all of it from files.

MLflow may fail at any moment; the training goes on.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from knee.run import termination
from knee.tracking.evidence import epoch_metric
from knee.tracking.processes import close_stale_runs, origin_tags
from knee.tracking.publishing import log_dataset, log_parameters
from knee.tracking.store import EXECUTION_TAG, Store, brief, connect, experiment_id

logger = logging.getLogger(__name__)


class TrainingRun:
    """Log to one live run; after the first failure nothing is tried again."""

    def __init__(self) -> None:
        self.run_id = ""
        self._store: Store | None = None  # as long as MLflow has not failed

    def begin(
        self,
        execution: str,
        experiment: str,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        """Close runs of killed processes and create the execution's run."""
        with self._failure_logged():
            store = connect()
            close_stale_runs(store)
            run = store.client.create_run(
                experiment_id(store, experiment),
                tags={**tags, **origin_tags(), EXECUTION_TAG: execution},
                run_name=name,
            )
            log_dataset(store, run, tags)
            log_parameters(store, run, parameters)
            self.run_id, self._store = run.info.run_id, store

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's figures; keys are columns of the training history."""
        if self._store is None:
            return
        with self._failure_logged():
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            figures = {key: float(value) for key, value in metrics.items() if key != "epoch"}
            entries = [Metric(epoch_metric(k), value, now, epoch) for k, value in figures.items()]
            self._store.client.log_batch(self.run_id, metrics=entries)

    def end(self, status: str, reason: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED; `reason` becomes a tag if not empty."""
        if self._store is None:
            return
        with self._failure_logged():
            if reason:
                self._store.client.set_tag(self.run_id, "end_reason", reason)
            self._store.client.set_terminated(self.run_id, status)

    @contextlib.contextmanager
    def _failure_logged(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._store = None
            logger.warning(
                "MLflow failed (%s). Training goes on; evaluate completes its run from files.",
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
    """Keep a live run around a training; never raise because of MLflow.

    The run ends as FINISHED, as FAILED after an exception, as KILLED after Ctrl-C or SIGTERM
    (which raises `termination.Terminated` in the training, so that it can clean up).
    """
    run = TrainingRun()
    status, reason = "FINISHED", ""
    with termination.raised():
        try:
            run.begin(execution, experiment, name, parameters, tags)
            yield run
        except (KeyboardInterrupt, termination.Terminated) as error:
            status, reason = "KILLED", type(error).__name__
            raise
        except BaseException as error:
            status, reason = "FAILED", type(error).__name__
            raise
        finally:
            run.end(status, reason)
