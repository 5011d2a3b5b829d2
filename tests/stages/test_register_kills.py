"""Register and promote killed after each of their writes, and clones that register at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee import tracking
from knee.run import dvc_notes
from knee.tracking import registry, store
from stages import promote, register
from tests.stages.test_register import paths, settings, write_backbone, write_evidence
from tests.tracking.fake_registry import FakeRegistry, Killed

MODELS = {"v1": (0.9, 0.7), "worse": (0.95, 0.6), "better": (0.9, 1.0)}  # shares right: val, test


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of the stages before register for each of `MODELS`, and of one that fails a gate."""
    roots = {}
    for name, (validation, test) in {**MODELS, "fails": MODELS["v1"]}.items():
        roots[name] = tmp_path_factory.mktemp(name)
        execution = "v1" if name == "fails" else name
        write_backbone(roots[name], "mobilenet", validation, test, execution=execution)
    write_evidence(roots["fails"], "mobilenet", better_than_border=0.6)
    return roots


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, trained: dict[str, Path], tmp_path: Path) -> FakeRegistry:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")  # not this project's
    store.prepare_environment()  # before MLflow is imported: it sets how much MLflow logs
    made = FakeRegistry()

    def file_of_run(_: object, version: registry.Version, name: str) -> bytes | None:
        place = trained[version.execution] / "metrics" / "mobilenet" / name
        return place.read_bytes() if place.is_file() else None

    monkeypatch.setattr(registry, "connect", lambda: made)
    monkeypatch.setattr(tracking.Registry, "file_of_run", file_of_run)
    monkeypatch.setattr(registry, "_now", lambda: "2026-11-29T12:00:00Z")
    monkeypatch.setattr(tracking, "require_published", lambda evidence: f"of-{evidence.execution}")
    monkeypatch.setattr(tracking, "describe_run", lambda run_id, _: f"pages/{run_id}?")
    return made


def registered(root: Path) -> None:
    chosen = settings("mobilenet")
    quick = dataclasses.replace(chosen.register, bootstrap_draws=50)
    chosen = dataclasses.replace(chosen, register=quick)
    register.run(chosen, paths(root, root.parent / f"{root.name}.json"))


def promoted() -> None:
    tracking.Registry("knee").override("1", "read by two of us", "A. Reader")


def rolled_back(fake: FakeRegistry) -> None:
    """As a person does it, who looks first whether it is done."""
    if (fake.aliases or {}).get("champion") != "1":
        assert tracking.Registry("knee").rollback("worse in the clinic", "A. Reader") == "1"


def moved_by_hand(fake: FakeRegistry) -> None:
    assert fake.aliases is not None
    fake.aliases["champion"] = "1"


Step = Callable[[FakeRegistry, dict[str, Path]], None]


def registering(name: str) -> Step:
    return lambda _, trained: registered(trained[name])


SCENARIOS: dict[str, list[Step]] = {
    "the first one": [registering("v1")],
    "a first one that fails a gate": [registering("fails")],
    "a better one": [registering("v1"), registering("better")],
    "a worse one": [registering("v1"), registering("worse")],
    "a challenger whose gates pass now": [registering("fails"), registering("v1")],
    "the champion again": [registering("v1"), registering("v1")],
    "a person's promotion": [registering("fails"), lambda *_: promoted()],
    "a second promotion": [
        registering("fails"),
        lambda *_: promoted(),
        registering("better"),
        lambda *_: promoted(),
    ],
    "a rollback": [
        registering("v1"),
        registering("better"),
        lambda fake, _: rolled_back(fake),
    ],
    "an alias moved by hand": [
        registering("fails"),
        lambda fake, _: moved_by_hand(fake),
        registering("fails"),
    ],
    "an alias moved by hand, then a worse model": [
        registering("fails"),
        lambda fake, _: moved_by_hand(fake),
        registering("worse"),
    ],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_after_any_write_a_rerun_ends_as_an_unkilled_run(
    fake: FakeRegistry, trained: dict[str, Path], scenario: str
) -> None:
    *before, last = SCENARIOS[scenario]
    for step in before:
        step(fake, trained)
    begun = fake.state()
    last(fake, trained)
    expected = fake.state()
    aliases = dict(expected[0])
    kills = 0
    while True:
        fake.aliases, fake.versions = begun
        begun = fake.state()
        fake.left = kills + 1
        try:
            last(fake, trained)
        except Killed:
            kills += 1
            champion = (fake.aliases or {}).get("champion")
            if champion and champion != (begun[0] or {}).get("champion"):
                assert fake.versions[champion]["tags"]["promotion"].startswith("champion: ")
        else:
            break
        finally:
            fake.left = None
        last(fake, trained)
        assert fake.state() == expected, f"killed after write {kills}"
    assert kills >= (3 if scenario != "the champion again" else 1)
    assert len(set(aliases.values())) == len(aliases)


def test_a_champion_has_its_gates_reason_and_description_when_it_gets_the_alias(
    fake: FakeRegistry, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        fake, "set_registered_model_alias", lambda *_: seen.append(fake.state()[1]["1"])
    )
    registered(trained["v1"])
    (version,) = seen
    gates = {"split", "audit", "shortcuts", "calibration", "champion"}
    assert {f"gate.{name}" for name in gates} <= version["tags"].keys()
    assert version["tags"]["promotion"] == "champion: there was no champion"
    assert "What a champion has to pass" in version["description"]


def terms() -> list[tuple[str, str, str]]:
    return [(one.version, one.by, one.replaced) for one in tracking.Registry("knee").history()]


def test_a_rollback_goes_to_the_champion_before_and_outlasts_later_registrations(
    fake: FakeRegistry, trained: dict[str, Path]
) -> None:
    registered(trained["v1"])
    registered(trained["better"])
    rolled_back(fake)
    assert fake.aliases == {"champion": "1"}
    registered(trained["better"])  # as `dvc repro -f -s register` does
    assert fake.aliases == {"champion": "1", "challenger": "2"}
    gate = fake.versions["2"]["tags"]["gate.rollback"]
    assert gate == "FAILED: rolled back by A. Reader: worse in the clinic"
    gates = [("1", "the gates", "none"), ("2", "the gates", "1")]
    assert terms() == [*gates, ("1", "A. Reader", "2")]
    with pytest.raises(tracking.TrackingError, match="no champion before the present one"):
        tracking.Registry("knee").rollback("again", "A. Reader")
    tracking.Registry("knee").override("2", "it was the scanner", "B. Reader")
    registered(trained["better"])
    assert fake.aliases == {"champion": "2"}
    assert terms()[3:] == [("2", "B. Reader", "1")]
    assert not tracking.Registry("knee").withdrawn("better")


def test_an_alias_moved_by_hand_past_a_gate_is_written_and_said_once(
    fake: FakeRegistry, trained: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    registered(trained["fails"])
    moved_by_hand(fake)
    assert fake.aliases == {"challenger": "1", "champion": "1"}
    with caplog.at_level("WARNING"):
        registered(trained["fails"])
    assert "moved by hand to a version that failed shortcuts: 60.0% likely" in caplog.text
    assert fake.aliases == {"champion": "1"}
    version = fake.versions["1"]
    assert version["tags"]["override.by"] == "somebody in MLflow"
    assert version["tags"]["override.replaced"] == "unknown"
    assert "failed gates: shortcuts" in version["tags"]["override.reason"]
    assert "**FAILED** shortcuts" in version["description"]
    before = fake.state()
    registered(trained["fails"])
    assert fake.state() == before


@pytest.mark.usefixtures("fake")
def test_promote_lists_the_versions_that_there_are(
    trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dvc_notes, "registered_model", lambda _: "knee")
        assert promote.main(["99", "--reason", "x"]) == 1
        assert "has no version 99: there is none yet" in capsys.readouterr().err
        registered(trained["v1"])
        registered(trained["worse"])
        assert promote.main(["99", "--reason", "x"]) == 1
    assert "it has 2 (challenger), 1 (champion)" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["v1"] * 3, ["v1", "better"], ["v1", "worse", "better"]])
def test_clones_that_register_at_once_end_with_one_champion_and_no_version_twice(
    fake: FakeRegistry, trained: dict[str, Path], names: list[str], tmp_path: Path
) -> None:
    roots = []
    for number, name in enumerate(names):
        roots.append(tmp_path / str(number))
        roots[-1].symlink_to(trained[name])
    random = np.random.default_rng(len(names))
    fake.before_write = lambda: time.sleep(random.uniform(0, 0.01))
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(registered, roots))
    assert fake.aliases is not None
    executions = [version["tags"]["execution"] for version in fake.versions.values()]
    assert len(executions) == len(set(executions))
    assert set(executions) <= set(names)
    champion = fake.versions[fake.aliases["champion"]]
    assert champion["tags"]["promotion"].startswith("champion: ")
    if fake.aliases.get("challenger"):
        assert fake.aliases["challenger"] != fake.aliases["champion"]


def test_a_clone_that_registered_first_is_compared_not_replaced(
    fake: FakeRegistry, trained: dict[str, Path]
) -> None:
    """Another clone becomes champion between this one's decision and its alias."""

    def other_clone() -> None:
        fake.before_write = lambda: None
        registered(trained["better"])

    fake.before_write = other_clone
    registered(trained["v1"])
    assert fake.aliases is not None
    names = {
        alias: fake.versions[number]["tags"]["execution"] for alias, number in fake.aliases.items()
    }
    assert names == {"champion": "better", "challenger": "v1"}
