"""The registered model: its versions, their aliases, and a copy of a version on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import functools
import json
import re
import resource
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from knee.location import locator_weights
from knee.run import messages
from knee.storage import provenance
from knee.storage.artifacts import ArtifactError, read_json
from knee.storage.provenance import SEAL
from knee.tracking.evidence import NOVELTY_FILE
from knee.tracking.models import models_of
from knee.tracking.store import (
    EXECUTION_TAG,
    TrackingError,
    connect,
    errors_translated,
    patient_upload,
    repeated,
    shown_uri,
    tolerated,
    tracking_uri,
    uri_in_environment,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

T = TypeVar("T")
CHAMPION, CHALLENGER = "champion", "challenger"
OVERRIDE_TAG, PROMOTION_TAG, REPLACED_TAG = "override.by", "promotion", "override.replaced"
TERM = "champion."  # how the key of a term's tag begins; a number follows
GATES = "the gates"  # who promotes where no person does
UNKNOWN = "unknown"
LARGEST_BYTES = 2 << 30  # of a file that is fetched; the largest model here has 0.6 GB
LARGEST_RECORD_BYTES = 16 << 20  # of training.json
NOT_FOUND: Final = 404
TO_REGISTER: Final = (
    "`make repro` trains and registers; where its outputs are here already (dvc pull), "
    "`dvc repro -f -s register` is enough. Or give --model FOLDER, such as models/mobilenet"
)
TO_RESTORE: Final = (
    "put mlartifacts back from a backup; or remove what is left of the version's files, and "
    "`make replay` writes those of the project's present models again. Where a run or a model was "
    "deleted in MLflow, `dvc repro -f -s register` makes a new version"
)
VERSIONS: Final = (
    "select version from model_versions where name = ? and current_stage is not 'Deleted_Internal' "
    "order by version desc"
)
ALIASES: Final = "select version, alias from registered_model_aliases where name = ?"
URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[\w-]+)|/(?P<version>\d+))")


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    version: str
    run_id: str
    execution: str


@dataclasses.dataclass(frozen=True)
class Term:
    """A term of a version as champion: a tag of the version, JSON."""

    number: int  # of the terms of all versions, from 1
    version: str
    at: str  # UTC, ISO 8601
    by: str
    reason: str
    replaced: str  # version that was champion before; "none"; "unknown"
    is_rollback: bool


class MissingError(TrackingError):
    """A file of a version is not among its artifacts."""


class Registry:
    """One registered model. Every method raises `TrackingError` if MLflow fails."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._client = connect()

    def champion(self) -> Version | None:
        """Return the version that has the alias `champion`."""
        with errors_translated("reading the champion"):
            model = self._model()
            number = model.aliases.get(CHAMPION) if model else None
            if number is None:
                return None
            return _version(self._client.get_model_version(self.model_name, str(number)))

    def file_of_run(self, version: Version, name: str) -> bytes | None:
        """Return the file `name` of a version's run; None if the run or the file is gone."""
        with tempfile.TemporaryDirectory() as folder, errors_translated(f"reading {name}"):
            run = _if_there(lambda: self._client.get_run(version.run_id))
            if run is None:
                return None
            try:
                address = run.info.artifact_uri
                return _download(
                    address, name, Path(folder), f"version {version.version}"
                ).read_bytes()
            except MissingError:
                return None

    def versions(self) -> list[tuple[Version, dict[str, str]]]:
        """Return all versions with their tags."""
        with errors_translated("reading the versions"):
            found = self._client.search_model_versions(f"name = '{self.model_name}'")
            return [(_version(entry), dict(entry.tags)) for entry in found]

    def tags(self, version: Version) -> dict[str, str]:
        """Return the tags of a version."""
        with errors_translated("reading tags"):
            return dict(self._entry(version.version).tags)

    def add(self, run_id: str, execution: str, tags: Mapping[str, str], text: str) -> Version:
        """Return the version of an execution, made if there is none; `text` describes it.

        Clones of a project may do this at once. A server counts versions up: the earliest one of
        the execution is the same for all of them, later ones are deleted.
        """
        client, name = self._client, self.model_name
        with errors_translated("creating a model version"), patient_upload():
            entry = repeated(lambda: self._only(run_id, execution, tags))
            # What a person wrote on it stays.
            if entry.description != text and OVERRIDE_TAG not in entry.tags:
                client.update_model_version(name, entry.version, text)
            return _version(entry)

    def history(self) -> list[Term]:
        """Return the terms of all champions on record, the earliest first."""
        with errors_translated("reading the history"):
            found = self._client.search_model_versions(f"name = '{self.model_name}'")
            terms = [
                Term(int(key.removeprefix(TERM)), str(entry.version), **json.loads(value))
                for entry in found
                for key, value in entry.tags.items()
                if re.fullmatch(rf"{re.escape(TERM)}\d+", key)
            ]
        return sorted(terms, key=lambda term: (term.number, term.at))

    def figures(self, number: str) -> dict[str, float]:
        """Return the metrics of the run of version `number`; {} if the run is gone."""
        with errors_translated("reading figures"):
            run = _if_there(lambda: self._client.get_run(self._entry(number).run_id))
            return dict(run.data.metrics) if run else {}

    def withdrawn(self, execution: str) -> str:
        """Return who rolled back from the version of an execution, and why; "" if nobody did.

        It is "" as well if the version has become champion again.
        """
        with errors_translated("reading versions"):
            own = {str(entry.version) for entry in self._same(execution)}
        said = ""
        for term in self.history():
            if term.is_rollback and term.replaced in own:
                said = f"{term.by}: {term.reason}"
            elif term.version in own:
                said = ""
        return said

    def set_alias(
        self,
        version: Version,
        alias: str,
        reason: str,
        by: str = GATES,
        *,
        is_rollback: bool = False,
    ) -> None:
        """Make `version` champion or challenger; it loses the other of the two.

        The alias comes last: whoever has it has its reason, and what is written before it.
        """
        other = CHALLENGER if alias == CHAMPION else CHAMPION
        client, name = self._client, self.model_name
        with errors_translated("setting an alias"):
            aliases = client.get_registered_model(name).aliases
            if alias == CHAMPION:
                before = str(aliases.get(CHAMPION, "none"))
                self._record_term(version, before, by, reason, is_rollback=is_rollback)
            done = "rolled back to" if is_rollback else "promoted"
            said = reason if by == GATES else f"{done} by {by}: {reason}"
            self.set_tags(version, {PROMOTION_TAG: f"{alias}: {said}"})
            if str(aliases.get(other)) == version.version:
                client.delete_registered_model_alias(name, other)
            if str(aliases.get(alias)) != version.version:
                repeated(lambda: client.set_registered_model_alias(name, alias, version.version))

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Give `version` these tags beside those it has."""
        with errors_translated("writing tags"):
            for tag in tags.items():
                named = (self.model_name, version.version, *tag)
                repeated(functools.partial(self._client.set_model_version_tag, *named))

    def rollback(self, reason: str, by: str) -> str:
        """Make the version champion that the present champion replaced; return its number.

        Where the present one is champion by a rollback, it is the version that it replaced when it
        became champion first: a second rollback goes further back.

        Raises:
            TrackingError: there is no champion, or none before it on record.
        """
        champion = self.champion()
        number = champion.version if champion else ""
        own = [one for one in self.history() if one.version == number and not one.is_rollback]
        before = own[-1].replaced if own else UNKNOWN
        if not before.isdecimal():
            there = _listed(self._client, self.model_name)
            raise TrackingError(
                f"{self.model_name}: no champion before the present one is on record; {there}. "
                'Name the one you want: python -m stages.promote VERSION --reason "..."'
            )
        self.override(before, reason, by, is_rollback=True)
        return before

    def override(self, number: str, reason: str, by: str, *, is_rollback: bool = False) -> None:
        """Make version `number` champion because a person says so, and write that on it.

        Raises:
            TrackingError: there is no such version; the message lists those that there are.
        """
        before = self.champion()
        with errors_translated(f"reading version {number} of {self.model_name}"):
            entry = _if_there(lambda: self._entry(number))
            if entry is None:
                there = _listed(self._client, self.model_name)
                raise TrackingError(f"{self.model_name} has no version {number}: {there}")
        version, replaced = _version(entry), before.version if before else "none"
        if before == version:  # a second time, or its alias was moved by hand
            replaced = entry.tags.get(REPLACED_TAG, "unknown")
        tags = {OVERRIDE_TAG: by, "override.reason": reason, REPLACED_TAG: replaced}
        self.set_tags(version, tags)
        done = "Rolled back to by {}" if is_rollback else "Promoted by {}, past the gates"
        note, text = f"**{done.format(by)}**: {reason}", entry.description or ""
        if not text.startswith(note):
            with errors_translated("promoting a version"):
                text = f"{note}\n\n{text}".strip()
                self._client.update_model_version(self.model_name, number, text)
        self.set_alias(version, CHAMPION, reason, by, is_rollback=is_rollback)

    def _record_term(
        self, version: Version, before: str, by: str, reason: str, *, is_rollback: bool
    ) -> None:
        """Write that `version` is champion from now on, unless it is written already.

        `before` is the present champion: itself where it stays, or was moved in MLflow.
        """
        last = next(reversed(self.history()), None)
        if before == version.version:
            if by == GATES:
                return  # registered again
            before = UNKNOWN if last is None else last.version
            if last is not None and last.version == version.version:
                before = last.replaced
        term = {"by": by, "reason": reason, "replaced": before, "is_rollback": is_rollback}
        written = last and {key: getattr(last, key) for key in term}
        if last is None or (last.version, written) != (version.version, term):
            key = f"{TERM}{last.number + 1 if last else 1}"
            self.set_tags(version, {key: json.dumps({"at": _now(), **term})})

    def _model(self) -> RegisteredModel | None:
        return _if_there(lambda: self._client.get_registered_model(self.model_name))

    def _entry(self, number: str) -> ModelVersion:
        return self._client.get_model_version(self.model_name, number)

    def _only(self, run_id: str, execution: str, tags: Mapping[str, str]) -> ModelVersion:
        """The version of an execution that can be used, created where there is none.

        Further ones go, but those whose run or model somebody has deleted in MLflow stay.
        """
        client, name = self._client, self.model_name
        if self._model() is None:
            with tolerated("RESOURCE_ALREADY_EXISTS"):
                client.create_registered_model(name)
        if not self._usable(execution):
            self._create(run_id, execution, tags)
        entry, *later = self._usable(execution) or self._same(execution)
        aliased = {str(number) for number in client.get_registered_model(name).aliases.values()}
        for surplus in later:
            if str(surplus.version) not in aliased and OVERRIDE_TAG not in surplus.tags:
                with tolerated("RESOURCE_DOES_NOT_EXIST"):
                    client.delete_model_version(name, surplus.version)
        return entry

    def _usable(self, execution: str) -> list[ModelVersion]:
        """The versions of an execution whose run and model are there, the earliest first."""
        usable = []
        for entry in self._same(execution):
            run = _if_there(functools.partial(self._client.get_run, entry.run_id))
            if run is not None and run.info.lifecycle_stage != "deleted":
                there = [f"models:/{model.model_id}" for model in models_of(self._client, run)]
                if entry.source in there:
                    usable.append(entry)
        return usable

    def _same(self, execution: str) -> list[ModelVersion]:
        """The versions of an execution, the earliest first."""
        found = self._client.search_model_versions(f"name = '{self.model_name}'")
        same = [entry for entry in found if entry.tags.get(EXECUTION_TAG) == execution]
        return sorted(same, key=lambda entry: int(entry.version))

    def _create(self, run_id: str, execution: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        model_id = self._model_of(run_id)
        try:
            with uri_in_environment():
                self._client.create_model_version(
                    self.model_name,
                    source=f"models:/{model_id}",
                    run_id=run_id,
                    model_id=model_id,
                    tags={**tags, EXECUTION_TAG: execution, "run_id": run_id},
                )
        except MlflowException:
            # RESOURCE_DOES_NOT_EXIST where another clone has removed it: `add` then tries again.
            self._client.get_logged_model(model_id)
            raise

    def _model_of(self, run_id: str) -> str:
        """The model of a run. Copies that clones have removed stay among its outputs.

        Where no other is among them, a clone is about to add the one that it keeps.
        """
        run = self._client.get_run(run_id)
        outputs = {str(output.model_id) for output in run.outputs.model_outputs}
        there = [str(model.model_id) for model in models_of(self._client, run)]
        if not there:
            raise TrackingError(f"run {run_id} has no model: `make replay` writes it again")
        return next((model_id for model_id in there if model_id in outputs), there[0])


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _if_there(read: Callable[[], T]) -> T | None:
    from mlflow.exceptions import MlflowException

    try:
        return read()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _version(entry: ModelVersion) -> Version:
    return Version(str(entry.version), str(entry.run_id), str(entry.tags.get(EXECUTION_TAG, "")))


def fetch_model(uri: str, folder: Path) -> tuple[str, str]:
    """Copy the version that `uri` names, models:/NAME@ALIAS or models:/NAME/VERSION, to `folder`.

    The folder then holds model.keras, training.json and, of a model that has them, novelty.npz and
    knees.npz, as they were registered. Only these files are asked for, and none may be larger than
    `LARGEST_BYTES`: a server may send anything.

    Returns:
        The name of the registered model and the number of the version.

    Raises:
        TrackingError: there is none, it is incomplete or damaged, or MLflow fails.
    """
    parts = URI.fullmatch(uri)
    if parts is None:
        raise TrackingError(f"{uri}: expected models:/NAME@champion or models:/NAME/VERSION")
    if parts["version"]:
        check_version(parts["name"], parts["version"])
    client = connect()
    with errors_translated(f"reading {uri}"):
        entry = _asked_for(client, parts["name"], parts["alias"], parts["version"])
        version, model = f"version {entry.version} of {entry.name}", "model.keras"
        folder.mkdir(parents=True, exist_ok=True)
        run = _if_there(lambda: client.get_run(entry.run_id))
        if run is None:
            raise _damaged(version, "its run has been deleted")
        address = run.info.artifact_uri
        training = _training(_download(address, "training.json", folder, version), version)
        same = training.get(SEAL) == entry.tags.get(SEAL, training.get(SEAL))
        if not same or provenance.seal_is_broken(training):
            raise _damaged(version, "training.json is not the one that was registered")
        address = client.get_model_version_download_uri(entry.name, entry.version)
        recorded = {model: training.get("model_sha256")}
        if training.get("novelty"):
            recorded[NOVELTY_FILE] = training["novelty"].get("sha256")
        if training.get("locate"):
            recorded[locator_weights.FILE] = training["locate"].get("weights_sha256")
        for name, sha256 in recorded.items():
            file = _download(address, f"artifacts/{name}", folder, version)
            if provenance.fingerprint(file) != sha256:
                raise _damaged(version, f"{name} is not the file that its training recorded")
    return str(entry.name), str(entry.version)


def check_version(name: str, number: str) -> None:
    """Raise `TrackingError` if the project's own store has no such version.

    It is read without MLflow, whose start takes seconds. MLflow is left to say what is wrong with
    a store that cannot be read, or is elsewhere.
    """
    scheme, _, file = tracking_uri().partition(":///")
    if scheme != "sqlite":
        return
    address = f"{Path(file).absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as store:
            aliases = dict(store.execute(ALIASES, (name,)))
            found = [version for (version,) in store.execute(VERSIONS, (name,))]
    except sqlite3.Error:
        return
    if int(number) in found:
        return
    named = [f"{one} ({aliases[one]})" if one in aliases else str(one) for one in found]
    there = f"it has {messages.listed(named)}" if found else f"there is none yet; {TO_REGISTER}"
    raise TrackingError(f"{name} has no version {number}: {there}")


def _asked_for(
    client: MlflowClient, name: str, alias: str | None, number: str | None
) -> ModelVersion:
    """The version with this alias or number; the error says what there is instead."""
    model = _if_there(lambda: client.get_registered_model(name))
    versions = client.search_model_versions(f"name = '{name}'") if model else []
    if model is None or not versions:
        raise TrackingError(f"{name} has no version at MLflow {shown_uri()} yet: {TO_REGISTER}")
    wanted = str(model.aliases.get(alias)) if alias else number
    for entry in versions:
        if str(entry.version) == wanted:
            return entry
    if alias is None:
        raise TrackingError(f"{name} has no version {number}: {_listed(client, name)}")
    other = str(model.aliases.get(CHALLENGER) or max(int(entry.version) for entry in versions))
    raise TrackingError(
        f"{name} has no {alias} yet: {_listed(client, name)}. Use one, --model models:/{name}/"
        f'{other}, or promote it: python -m stages.promote {other} --reason "..."'
    )


def _listed(client: MlflowClient, name: str) -> str:
    """The versions of a registered model and their aliases, for a message."""
    model = _if_there(lambda: client.get_registered_model(name))
    found = client.search_model_versions(f"name = '{name}'") if model else []
    if model is None or not found:
        return f"there is none yet; {TO_REGISTER}"
    aliases = {str(number): alias for alias, number in model.aliases.items()}
    numbers = [str(entry.version) for entry in sorted(found, key=lambda one: -int(one.version))]
    named = [f"{one} ({aliases[one]})" if one in aliases else one for one in numbers]
    return f"it has {messages.listed(named)}"


def _training(file: Path, version: str) -> dict[str, Any]:
    if file.stat().st_size > LARGEST_RECORD_BYTES:
        raise _damaged(version, f"training.json has more than {LARGEST_RECORD_BYTES} bytes")
    try:
        return read_json(file)
    except ArtifactError as error:
        raise _damaged(version, "training.json is no JSON object") from error


def _damaged(version: str, what: str) -> TrackingError:
    return TrackingError(f"{version} cannot be used: {what}; {TO_RESTORE}")


def _missing(version: str, name: str, address: str) -> str:
    return f"{version} cannot be used: {name} is missing at {address}; {TO_RESTORE}"


def _download(address: str, name: str, folder: Path, version: str) -> Path:
    """Copy the file `name` below `address` into `folder`, nothing else and at most so much."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    target = folder / Path(name).name
    repository = get_artifact_repository(address, tracking_uri())
    try:
        with _largest_file(LARGEST_BYTES):
            repository._download_file(name, str(target))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise MissingError(_missing(version, name, address)) from error
        raise
    except OSError as error:  # also those of the HTTP library
        if error.errno == errno.EFBIG:
            raise _damaged(version, f"{name} has more than {LARGEST_BYTES} bytes") from error
        if getattr(getattr(error, "response", None), "status_code", None) == NOT_FOUND:
            raise MissingError(_missing(version, name, shown_uri())) from error
        raise
    return target


@contextlib.contextmanager
def _largest_file(count: int) -> Iterator[None]:
    """Let no file of this process grow beyond `count` bytes: the system refuses to write more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    bounds = [bound for bound in (soft, count) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
