"""Memory and CPU time of steps that grew with the data, before and after, on generated data.

    python -m benchmarks.speed.growth --films 10000

Each step runs in a process of its own, the straightforward way and the library's, which have to
give the same bytes, but for links of more than 131,072 pairs, whose rounds grow, and for nearest
neighbours of more than `MOST_TESTED` test films, the others being left out.
Memory is what the step adds to the largest resident memory; the time is of the step alone, user and
system. Prints a table, and writes benchmarks/results/growth_FILMS.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import machine
from benchmarks.speed import straightforward
from knee.copies import affine_registration, altered_copies, copy_check, copy_groups
from knee.copies.fingerprints import FingerprintFile, Fingerprints
from knee.run import command
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Integers
from knee.storage.image_stacks import ChosenImages, blocks

RESULTS: Final = Path(__file__).parents[1] / "results"
PAIRS_A_FILM: Final = 13.4  # candidates, measured on Kellgren-Lawrence films
MOST_TESTED: Final = 2000  # audit.most_pictures
EPOCHS, BATCH = 20, 16
Step = Callable[[int], Callable[[], Iterable[Any]]]  # films -> what is measured -> its results


def main() -> None:
    """Measure all steps both ways, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--films", type=int, default=10_000, help="generated")
    parser.add_argument("--step", choices=sorted(STEPS), help="alone, in this process")
    parser.add_argument("--way", choices=("before", "after"), default="after", help="of --step")
    chosen = parser.parse_args()
    if chosen.step:
        print(json.dumps(measured(STEPS[chosen.step][chosen.way == "after"](chosen.films))))
        return
    found = {step: _both(step, chosen.films) for step in STEPS}
    result = {"machine": machine.describe(), "films": chosen.films, "steps": found}
    text = json.dumps(result, indent=2)
    (RESULTS / f"growth_{chosen.films}.json").write_text(text + "\n", encoding="utf-8")
    for step, ways in found.items():
        figures = "  ".join(
            f"{way} {one['megabytes']:7.1f} MB {one['cpu_seconds']:8.2f} s"
            for way, one in ways.items()
        )
        same = "same" if len({one["digest"] for one in ways.values()}) == 1 else "other"
        print(f"{step:20} {figures}  {same} bytes")


def _both(step: str, films: int) -> dict[str, Any]:
    own = [sys.executable, "-m", __spec__.name, "--films", str(films), "--step", step, "--way"]
    return {
        way: json.loads(subprocess.run([*own, way], check=True, stdout=subprocess.PIPE).stdout)
        for way in ("before", "after")
    }


def measured(work: Callable[[], Iterable[Any]]) -> dict[str, Any]:
    """Run `work`; what it adds to the peak memory, its CPU seconds, a digest of its results."""
    peak, started = _peak_megabytes(), time.process_time()
    digest = hashlib.sha256()
    for part in work():
        digest.update(np.ascontiguousarray(part).tobytes())
    return {
        "megabytes": round(_peak_megabytes() - peak, 1),
        "cpu_seconds": round(time.process_time() - started, 2),
        "digest": digest.hexdigest()[:16],
    }


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _fingerprints(films: int) -> Iterable[Fingerprints]:
    """Fingerprints of noise; of every tenth film those of two halves, too."""
    generator = np.random.default_rng(0)
    for film in range(films):
        views = generator.integers(0, 256, (1 + 2 * (film % 10 == 0), 96, 96), np.uint8)
        hashes = generator.integers(0, 256, (2, 32), np.uint8)
        yield Fingerprints(hashes[0], hashes[1], views[0], views)


def fingerprints_before(films: int) -> Callable[[], Iterable[Any]]:
    """All in a list, stacked and equalised."""

    def work() -> Iterable[Any]:
        for array in straightforward.images(list(_fingerprints(films))):
            yield from (array[start : start + 256] for start in range(0, len(array), 256))

    return work


def fingerprints_after(films: int) -> Callable[[], Iterable[Any]]:
    """In a file, equalised as they are read."""

    def work() -> Iterable[Any]:
        file = FingerprintFile.of(_fingerprints(films))
        views = file.views(np.arange(films)).pixels
        yield from blocks(file.reduced)
        yield from blocks(ChosenImages(views, np.arange(len(views)), altered_copies.equalised))

    return work


def _candidates(films: int) -> Integers:
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, films, (int(PAIRS_A_FILM * films), 2))
    chosen: Integers = pairs[pairs[:, 0] != pairs[:, 1]]
    return chosen


def _holds(pairs: Integers) -> Any:
    """One pair in twenty is a copy."""
    return (pairs[:, 0] * 31 + pairs[:, 1]) % 20 == 0


def links_before(films: int) -> Callable[[], Iterable[Any]]:
    """All components again each round."""
    pairs = _candidates(films)
    return lambda: [straightforward.linked(films, pairs, _holds, copy_groups.ROUND_PAIRS)]


def links_after(films: int) -> Callable[[], Iterable[Any]]:
    """`copy_groups.verify`, with a registration that costs nothing."""
    pairs = _candidates(films)
    candidates = copy_groups.Links(pairs, np.zeros((len(pairs), 2, 3)))

    class Told(copy_check.Registrar):
        def register(self, _: Any, some: Integers, maps: Any, *__: Any) -> copy_check.Registered:
            agree = _holds(some).astype(np.float64)
            return copy_check.Registered(maps, affine_registration.Agreement(agree, agree, agree))

    def work() -> Iterable[Any]:
        copy = copy_check.CopyThresholds(0.5, 0.5, 0.5, 0.5, 0.5)
        none = np.empty((films, 0, 0), np.uint8)
        yield copy_groups.verify(none, candidates, copy, Told()).pairs

    return work


def _training(films: int) -> Any:
    from knee.classifier.features.feature_source import Source, Subset, TrainingData

    features = np.random.default_rng(0).random((1, films, 1, 1, 2)).astype(np.float16)
    rows = Subset(np.arange(films), np.arange(films) % 3)
    source = Source(features, pixels=False)
    weights = np.array([1, 2, 3], np.float32)
    return TrainingData(source, rows, rows, 3, weights)


def epochs_before(films: int) -> Callable[[], Iterable[Any]]:
    """The rows of all epochs in one data set."""
    import tensorflow as tf

    from knee.classifier.training import inputs

    data = _training(films)

    def prepare(row: Any, label: Any, weight: Any) -> Any:
        return inputs._read(data.source, tf.zeros_like(row), row), label, weight

    def work() -> Iterable[Any]:
        orders = [inputs.epoch_order(films, BATCH, 1, epoch) for epoch in range(EPOCHS)]
        positions = np.concatenate(orders)
        classes = data.training.class_indices
        wanted, weights = inputs.targets(3, 0)[classes], data.class_weights[classes]
        arrays = data.training.rows[positions], wanted[positions], weights[positions]
        rows = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH, drop_remainder=True)
        made = rows.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        for batch in made.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            yield from batch

    return work


def epochs_after(films: int) -> Callable[[], Iterable[Any]]:
    """`inputs.training_batches`."""
    from knee.classifier.training import inputs

    data = _training(films)

    def work() -> Iterable[Any]:
        made = inputs.training_batches(
            data,
            inputs.Augmentation(),
            targets=inputs.targets(3, 0),
            batch_size=BATCH,
            epochs=range(EPOCHS),
            seed=1,
        )
        for batch in made.as_numpy_iterator():
            yield from batch

    return work


def _confusion(films: int, count: Callable[..., Any]) -> Callable[[], Iterable[Any]]:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 5, (2, films))
    weights = Bootstrap(1000, 0.95, 1).weights(np.arange(films))
    return lambda: (count(truth, predicted, some, 5) for some in weights)


def _nearest(films: int, *, is_thinned: bool) -> Callable[[], Iterable[Any]]:
    from knee.audit import shortcuts

    pixels = np.random.default_rng(0).integers(0, 256, (films, 1024), np.uint8)
    train, test = pixels[: films * 8 // 10], pixels[films * 9 // 10 :]
    if not is_thinned:
        return lambda: [straightforward.nearest(train, test)]
    test = test[:MOST_TESTED]
    return lambda: [shortcuts.nearest_neighbour(train, test)(np.arange(len(train)))]


STEPS: Final[dict[str, tuple[Step, Step]]] = {
    "fingerprints": (fingerprints_before, fingerprints_after),
    "links": (links_before, links_after),
    "epochs": (epochs_before, epochs_after),
    "confusion": (
        lambda films: _confusion(films, straightforward.confusion),
        lambda films: _confusion(films, scores.confusion),
    ),
    "nearest_neighbour": (
        lambda films: _nearest(films, is_thinned=False),
        lambda films: _nearest(films, is_thinned=True),
    ),
}

if __name__ == "__main__":
    main()
