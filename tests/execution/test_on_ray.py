"""A cluster of real nodes: the same bytes as here, whatever is killed, and clear ends."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydicom import uid

from knee.classifier.net.design import BackboneDesign, write_design
from knee.records import records_table
from knee.run import parameters
from knee.splits.split_images import write_images
from knee.synthetic import cohort
from tests import films, shards
from tests.execution import ray_cluster
from tests.execution.ray_cluster import ROOT, Cluster
from tests.reading import dicom_files
from tests.records import tables

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray is not installed"),
]
ROWS, SIDE = 40, 32
EXECUTION = {
    "engine": "ray",
    "address": "auto",
    "processes": "auto",
    "cpus": 1,
    "gpus": 0,
    "files": "sent",
    "retries": 2,
    "start_seconds": 60,
    "trusted_network": True,
    "launcher": "local",
}


DRIVER = """
import json, logging, sys
from knee.execution.opening import Opened
from knee.execution.ordered import ordered
from knee.execution.place import ExecutionError
from knee.run import parameters
from knee.synthetic import cohort
from tests.execution import tasks
logging.basicConfig(level=logging.WARNING, format="%(message)s")
with Opened(parameters.Execution(**json.loads(sys.argv[1]), hosts=()), tasks.trial) as place_of:
    place = place_of()
"""
WORK = """
    chunks = [range(start, start + 4) for start in range(0, 40, 4)]
    found = [*ordered(place, tasks.doubled, [place.share(-1)], chunks, name=str)]
    print("told:", [one for some in found for one in some])
    try:
        list(ordered(place, tasks.broken, [], [[3]], name=str))
    except ZeroDivisionError as error:
        print("told:", error)
    try:
        list(ordered(place, tasks.doubled, [6], chunks, name=lambda item: f"film {item}"))
    except ExecutionError as error:
        print("told:", error)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes like this machine, and one that computes other bits."""
    folder = Path("/tmp") / f"ray-{os.getpid()}"  # paths of sockets are short
    nodes: list[dict[str, str]] = [{}, {}, {"KNEE_TEST_BITS": "other"}]
    with ray_cluster.running(folder, nodes) as made:
        yield made
    shutil.rmtree(folder)


def execution(cluster: Cluster, **changes: Any) -> dict[str, Any]:
    return {**EXECUTION, "address": cluster.address, **changes}


def driven(
    cluster: Cluster, settings: dict[str, Any], work: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """A process that opens the cluster, then does `work` there."""
    return subprocess.run(
        [sys.executable, "-c", DRIVER + work, json.dumps(settings)],
        cwd=ROOT,
        env={**cluster.environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_client_with_another_token_is_refused(cluster: Cluster) -> None:
    done = driven(cluster, execution(cluster), RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode != 0
    assert "refuses" in done.stderr.splitlines()[-1]


def test_a_node_of_other_bits_gets_no_work_and_items_that_end_workers_are_named(
    cluster: Cluster,
) -> None:
    done = driven(cluster, execution(cluster), WORK)
    assert done.returncode == 0, done.stderr
    assert "gets no work: other bits" in done.stderr
    lines = done.stdout.splitlines()  # Ray says, too, that workers died
    found, error, named = (line[6:] for line in lines if line.startswith("told: "))
    assert found == str([(2 * number, "ours") for number in range(40)])
    assert error == "no 3"
    assert named.startswith("film 6 ended 3 workers: ")


def test_a_cluster_without_such_a_node_says_what_is_there(cluster: Cluster) -> None:
    done = driven(cluster, execution(cluster, cpus=2, start_seconds=1))
    said = done.stderr.splitlines()[-1]
    assert "no node with 2 CPUs and 0 GPUs came within 1 s" in said
    assert said.count("(1 CPUs, 0 GPUs)") == 3


def ingested(
    cluster: Cluster, images: Path, out: Path, changes: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Ingest `images` into `out`."""
    settings = dataclasses.asdict(parameters.load(ROOT / "params.yaml"))
    settings["execution"] |= changes
    out.mkdir()
    params = out / "params.yaml"
    params.write_text(yaml.safe_dump(json.loads(json.dumps(settings))), encoding="utf-8")
    words = [sys.executable, "-m", "stages.ingest", "--params", str(params)]
    words += ["--images", str(images), "--sheet", str(ROOT / "conf" / "no_sheet.csv")]
    words += ["--records-out", str(out / "records.csv"), "--pixels-out", str(out / "pixels")]
    return subprocess.run(
        words, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False
    )


def test_copies_are_registered_to_the_same_bytes_as_here(cluster: Cluster, tmp_path: Path) -> None:
    images = tmp_path / "images"
    cohort.write_sample(images, tmp_path / "truth.json", patients=12, size_pixels=96, seed=42)
    for name, changes in (("local", {}), ("ray", execution(cluster))):
        done = ingested(cluster, images, tmp_path / name, changes)
        assert done.returncode == 0, done.stderr
        assert ("cluster: " in done.stderr) == (name == "ray")
    assert sha256(tmp_path / "local") == sha256(tmp_path / "ray")
    assert len(sha256(tmp_path / "ray")) == 2


@pytest.mark.slow
def test_large_films_are_decoded_to_the_same_bytes_as_here(
    cluster: Cluster, tmp_path: Path
) -> None:
    images, files = tmp_path / "images", {}
    for number, label in enumerate(("Normal", "Osteopenia", "Osteoporosis") * 3):
        film = films.film(number)
        large = np.asarray(film.resize((800, 1000)), np.uint16) * 16
        files[f"{label}/{number}.dcm"] = dicom_files.dicom(large, PatientID=f"P{number // 2}")
    for number, label in enumerate(("Normal", "Osteopenia", "Osteoporosis"), 9):
        gray = np.asarray(films.film(number))  # of a syntax that a child of the worker decodes
        files[f"{label}/{number}.dcm"] = dicom_files.encapsulated(
            dicom_files.jpeg(gray), uid.JPEGExtended12Bit, dicom_files.dataset(gray, BitsStored=8)
        )
    files["Normal/12.dcm"] = files["Normal/0.dcm"][:-9]
    films.fill(images, files)
    shared = execution(cluster, files="shared")
    for name, changes in (("local", {}), ("ray", shared)):
        done = ingested(cluster, images, tmp_path / name, changes)
        assert done.returncode == 0, done.stderr
        assert ("nodes decode" in done.stderr) == (name == "ray")
    assert sha256(tmp_path / "local") == sha256(tmp_path / "ray")
    table = records_table.read_records(tmp_path / "ray" / "records.csv")
    assert set(table["status"]) == {"used", "rejected"}
    assert table["patient"].nunique() > 4


WEIGHTS = """
import sys
import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format
keras.utils.set_random_seed(1)
net = keras.applications.MobileNet(input_shape=(32, 32, 3), include_top=False, weights=None)
with h5py.File(sys.argv[1], "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, net)
"""


@pytest.mark.slow
def test_features_are_the_same_bytes_as_here(cluster: Cluster, tmp_path: Path) -> None:
    weights = tmp_path / "mobilenet.h5"
    subprocess.run([sys.executable, "-c", WEIGHTS, str(weights)], check=True, timeout=120)
    images = np.random.default_rng(0).integers(0, 256, (1500, SIDE, SIDE), np.uint8)
    shards.save(tmp_path / "pixels", images)
    listed = tmp_path / "images.csv"
    write_images(pd.DataFrame({"pixel_row": np.arange(1, len(images))}), listed)
    made = []
    places: dict[str, dict[str, Any]] = {"local": {}, "sent": execution(cluster)}
    places["shared"] = execution(cluster, files="shared")
    for name, changes in places.items():
        settings = dataclasses.asdict(parameters.load(ROOT / "params.yaml"))
        settings["execution"] |= changes
        settings["weights"] = str(tmp_path)
        params, out = tmp_path / f"{name}.yaml", tmp_path / name
        params.write_text(yaml.safe_dump(json.loads(json.dumps(settings))), encoding="utf-8")
        words = [sys.executable, "-m", "stages.embed", "--params", str(params)]
        words += ["--backbone", "mobilenet", "--pixels", str(tmp_path / "pixels")]
        words += ["--images", str(listed)]
        words += ["--features-out", str(out), "--known-results", str(tmp_path / f"known-{name}")]
        done = subprocess.run(
            words, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=True
        )
        assert ("cluster: " in done.stderr) == (name != "local")
        made.append(sha256(out))
    assert made[0] == made[1] == made[2]
    assert len(made[0]) == 5  # two shards


@pytest.mark.slow
def test_an_ensemble_is_the_same_bytes_as_here(cluster: Cluster, tmp_path: Path) -> None:
    told = []
    for name, changes in (("local", {"engine": "local"}), ("ray", {})):
        settings = json.dumps({**execution(cluster), **changes})
        words = [sys.executable, "-m", "tests.execution.ensemble", settings, str(tmp_path / name)]
        done = subprocess.run(
            words, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines()[-1])
    assert told[0] == told[1]
    assert told[0].startswith("model ")


def write_project(root: Path) -> None:
    """Features of noise that tell two classes, for a head on MobileNet's maps."""
    labels, groups = np.arange(ROWS) // 2 % 2, np.arange(ROWS) // 2
    table = tables.records(labels.tolist(), groups.tolist())
    records_table.write_records(table, root / "records.csv")
    shards.save(root / "pixels", np.zeros((ROWS, SIDE, SIDE), np.uint8))
    split = {"record": table["record"], "subset": "train", "fold": 0, "group": groups}
    pd.DataFrame(split).to_csv(root / "split.csv", index=False)
    (root / "features").mkdir()
    write_design(BackboneDesign("mobilenet", SIDE, train_from="head"), root / "features")
    values = np.random.default_rng(0).normal(size=(1, ROWS, 1, 1, 1024))
    values[..., :8] += 2 * labels[:, None, None, None]
    shards.save_features(root / "features", values.astype(np.float16).swapaxes(0, 1))


def command(root: Path, name: str, changes: dict[str, Any]) -> tuple[list[str], Path]:
    """The words of a cross-validation in `root`, and the folder of its outputs."""
    settings = dataclasses.asdict(parameters.load(ROOT / "params.yaml"))
    settings["train"] |= {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "members": 1}
    settings["model"] |= {"joined": [], "distilled": [], "backbones": ["mobilenet"]}
    settings["model"] |= {"candidates": ["mobilenet"]}
    settings["head"] |= {"projection_channels": 8, "attention_heads": 2, "dense_units": 0}
    settings["cross_validate"] |= {"folds": 3, "repeats": 6, "bootstrap_draws": 50}
    settings["execution"] |= changes
    out = root / name
    out.mkdir(exist_ok=True)
    params = out / "params.yaml"
    params.write_text(yaml.safe_dump(json.loads(json.dumps(settings))), encoding="utf-8")
    words = [sys.executable, "-m", "stages.cross_validate", "--backbone", "mobilenet"]
    files = {
        "params": params,
        **{one: root / one for one in ("features",)},
        **{one.split(".")[0]: root / one for one in ("pixels", "records.csv", "split.csv")},
        "members": root / "members.csv",
        "checkpoints": root / f"checkpoints-{name}",
        "cross-validation-out": out / "cross_validation.json",
        "headline-out": out / "headline.json",
        "predictions-out": out / "out_of_fold.csv",
        "heads-out": out / "heads.csv",
        "plot-out": out / "plot.png",
    }
    return [
        *words,
        *(word for flag, path in files.items() for word in (f"--{flag}", str(path))),
    ], out


def sha256(out: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(out.rglob("*"))
        if file.is_file() and file.name != "params.yaml"
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> tuple[Path, Any]:
    """A project, and the digests of what its cross-validation gives on this machine."""
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    words, out = command(root, "local", {})
    subprocess.run(words, cwd=ROOT, env=cluster.environment, check=True, timeout=300)
    return root, sha256(out)


def begun(cluster: Cluster, root: Path, name: str, **changes: Any) -> subprocess.Popen[str]:
    """A cross-validation on the cluster, of which a fold is finished."""
    words, _ = command(root, name, execution(cluster, **changes))
    run = subprocess.Popen(
        words, cwd=ROOT, env=cluster.environment, stderr=subprocess.PIPE, text=True
    )
    ray_cluster.waited(lambda: any((root / f"checkpoints-{name}").rglob("*.json")))
    return run


def ended_here(cluster: Cluster, root: Path, name: str) -> dict[str, str]:
    """The digests after the same command has gone on on this machine."""
    words, out = command(root, name, {"engine": "local"})
    subprocess.run(words, cwd=ROOT, env=cluster.environment, check=True, timeout=300)
    return sha256(out)


def test_folds_are_the_same_bytes_as_here_with_a_worker_and_a_node_killed(
    cluster: Cluster, project: tuple[Path, Any]
) -> None:
    root, expected = project
    with begun(cluster, root, "sent") as run:
        cluster.kill("ray::_done")
        finished = root / "checkpoints-sent"
        ray_cluster.waited(lambda: len([*finished.rglob("*.json")]) > 2)
        cluster.kill("raylet", 1)
        _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert sha256(root / "sent") == expected
    assert len(cluster.processes("raylet")) == 3


@pytest.mark.slow
def test_tasks_of_a_killed_run_end_and_the_run_goes_on_here(
    cluster: Cluster, project: tuple[Path, Any]
) -> None:
    root, expected = project
    with begun(cluster, root, "killed", files="shared") as run:
        run.kill()
    ray_cluster.waited(lambda: not cluster.processes("ray::_done"))
    assert ended_here(cluster, root, "killed") == expected


@pytest.mark.slow
def test_a_run_whose_head_is_lost_says_so_and_goes_on_here(
    cluster: Cluster, project: tuple[Path, Any]
) -> None:
    root, expected = project
    with begun(cluster, root, "lost", files="shared") as run:
        cluster.kill("gcs_server")
        _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "the cluster is lost" in said.splitlines()[-1]
    assert ended_here(cluster, root, "lost") == expected
