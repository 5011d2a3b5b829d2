"""MLflow's registry in memory, whose process may be killed after any of its writes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

WRITES = (
    "create_registered_model",
    "create_model_version",
    "update_model_version",
    "delete_model_version",
    "set_model_version_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)


class Killed(BaseException):
    """SIGKILL, as far as a test can have it: no handler of the code sees it as an error."""


def refusal(message: str, code: str) -> Exception:
    """MLflow's error; imported late, since importing MLflow sets how much it logs."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    made: Exception = MlflowException(message, getattr(databricks_pb2, code))
    return made


class FakeRegistry:
    """The calls of `MlflowClient` that `knee.tracking.Registry` makes, for one registered model."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] | None = None  # None: no registered model yet
        self.versions: dict[str, dict[str, Any]] = {}
        self.left: int | None = None  # writes until the process is killed
        self.before_write: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        for name in WRITES:
            setattr(self, name, self._mortal(getattr(self, name)))

    def state(self) -> Any:
        return copy.deepcopy((self.aliases, self.versions))

    def _mortal(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.before_write()
            with self._lock:
                done = write(*arguments, **named)
                if self.left is not None:
                    self.left -= 1
                    if self.left == 0:
                        raise Killed
                return done

        return call

    def get_registered_model(self, name: str) -> Any:
        if self.aliases is None:
            raise refusal(f"{name} not found", "RESOURCE_DOES_NOT_EXIST")
        return SimpleNamespace(name=name, aliases=dict(self.aliases))

    def create_registered_model(self, name: str) -> None:
        if self.aliases is not None:
            raise refusal(f"{name} is there", "RESOURCE_ALREADY_EXISTS")
        self.aliases = {}

    def get_run(self, run_id: str) -> Any:
        outputs = SimpleNamespace(model_outputs=[self._model(run_id)])
        return SimpleNamespace(
            info=SimpleNamespace(run_id=run_id, experiment_id="0", lifecycle_stage="active"),
            outputs=outputs,
        )

    def _model(self, run_id: str) -> Any:
        return SimpleNamespace(model_id=f"m-{run_id}", creation_timestamp=0)

    def search_logged_models(self, _: list[str], query: str) -> list[Any]:
        return [self._model(query.split("'")[1])]

    def create_model_version(self, name: str, **facts: Any) -> Any:
        number = str(1 + max(map(int, self.versions), default=0))
        tags = dict(facts["tags"])
        self.versions[number] = {"run_id": facts["run_id"], "tags": tags, "description": ""}
        return self.get_model_version(name, number)

    def get_model_version(self, name: str, number: str) -> Any:
        if number not in self.versions:
            raise refusal(f"{name} {number} not found", "RESOURCE_DOES_NOT_EXIST")
        facts = self.versions[number]
        return SimpleNamespace(
            **{**facts, "tags": dict(facts["tags"])},
            name=name,
            version=int(number),
            source=f"models:/m-{facts['run_id']}",
        )

    def search_model_versions(self, query: str) -> list[Any]:
        with self._lock:
            return [self.get_model_version(query[8:-1], number) for number in self.versions]

    def update_model_version(self, _: str, number: str, text: str) -> None:
        self.versions[str(number)]["description"] = text

    def delete_model_version(self, name: str, number: str) -> None:
        self.get_model_version(name, str(number))
        del self.versions[str(number)]

    def set_model_version_tag(self, _: str, number: str, key: str, value: str) -> None:
        self.versions[str(number)]["tags"][key] = value

    def set_registered_model_alias(self, _: str, alias: str, number: str) -> None:
        assert self.aliases is not None
        self.aliases[alias] = str(number)

    def delete_registered_model_alias(self, _: str, alias: str) -> None:
        assert self.aliases is not None
        self.aliases.pop(alias, None)
