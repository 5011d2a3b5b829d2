"""Out-of-distribution score of an image: Mahalanobis distance of pooled features.

Lee et al. 2018, https://arxiv.org/abs/1807.03888, with one Gaussian for all classes, features of
length 1 (Mueller and Hein 2025, https://arxiv.org/abs/2505.18032), and a covariance that is shrunk
towards a multiple of the identity (Ledoit and Wolf 2004, doi 10.1016/S0047-259X(03)00096-4). The
shrunk covariance has the eigenvectors of the plain one, and one variance in all directions that
the training images do not have: it is kept as a few directions and that variance. The score is the
distance divided by a limit, or the distance of the features' length (its logarithm) from the
training images' mean divided by another, whichever is larger: of a net trained from random weights
a printed page's features are four times as long as a radiograph's, and in no other way unusual. The
limits are such that a quantile of held-out images has at most 1: above 1 is out of distribution.

`features` are float (images, channels).
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.statistics import scores
from knee.statistics.bootstrap import share
from knee.storage import artifacts, provenance
from knee.storage.arrays import Features, Floats
from knee.storage.artifacts import ArtifactError

MOST_DIRECTIONS: Final = 512  # kept; the others share their mean variance
FEWEST_IMAGES: Final = 8  # fewer say nothing about a spread
LARGEST_FILE_BYTES: Final = 64 * 2**20
SMALLEST_VARIANCE: Final = 1e-12
ARRAYS: Final = ("centre", "directions", "variances", "other_variance", "limit")
LENGTHS: Final = ("log_length", "length_limit")  # not in a file of an earlier version


@dataclass(frozen=True)
class Novelty:
    """The distribution of the training images in feature space."""

    centre: Floats  # (channels,) mean
    directions: Floats  # (kept, channels) orthonormal
    variances: Floats  # (kept,) of the shrunk covariance
    other_variance: float  # in every other direction
    limit: float = 1.0  # distance of score 1
    log_length: float = 0.0  # mean of the logarithms of the features' lengths
    length_limit: float = math.inf  # difference from it of score 1; infinite: not looked at

    def distances(self, features: Features) -> Floats:
        """Return (images,) Mahalanobis distances."""
        centred = unit_length(features) - self.centre
        along = centred @ self.directions.T
        across = np.maximum(np.square(centred).sum(axis=1) - np.square(along).sum(axis=1), 0)
        squared = (np.square(along) / self.variances).sum(axis=1) + across / self.other_variance
        return np.asarray(np.sqrt(squared))

    def scores(self, features: Features) -> Floats:
        """Return (images,) the larger of both parts in units of its limit: above 1 is too much."""
        lengths = self.length_differences(features) / self.length_limit
        return np.asarray(np.maximum(self.distances(features) / self.limit, lengths))

    def length_differences(self, features: Features) -> Floats:
        """Return (images,) differences of the length's logarithm from the training images' mean."""
        return np.asarray(np.abs(log_lengths(features) - self.log_length))


def fit(training: Features, held_out: Features, quantile: float) -> Novelty | None:
    """Fit the training images' distribution, with the limit at a quantile of held-out distances.

    Args:
        training: at least `FEWEST_IMAGES` images with features that differ, else the answer is
            None.
        held_out: images that were not trained on, and are like those to come.
        quantile: 0-1, of their distances; with few of them the limit is the largest one.
    """
    model = _distribution(training)
    if model is None or len(held_out) < FEWEST_IMAGES:
        return None
    return _limited(model, *_parts(model, held_out), quantile)


def _distribution(images: Features) -> Novelty | None:
    """The distribution of `images`, without a limit; None of too few, or if all are alike.

    Features of an untrained net may vanish in the 16 bits in which they are kept. Images without
    any spread set limits of 0, above which every other image would lie.
    """
    if len(images) < FEWEST_IMAGES:
        return None
    values = unit_length(images)
    centre = values.mean(axis=0)
    centred = values - centre
    if np.square(centred).sum(axis=1).mean() < SMALLEST_VARIANCE:
        return None
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    plain = np.square(singular) / len(values)
    share, mean_variance = _shrinkage(centred, plain)
    shrunk = np.maximum((1 - share) * plain + share * mean_variance, SMALLEST_VARIANCE)
    kept = min(MOST_DIRECTIONS, len(plain))
    rest = np.concatenate([plain[kept:], np.zeros(values.shape[1] - len(plain))])
    other = (1 - share) * (rest.mean() if len(rest) else 0) + share * mean_variance
    return Novelty(
        centre,
        directions[:kept],
        shrunk[:kept],
        max(float(other), SMALLEST_VARIANCE),
        log_length=float(log_lengths(images).mean()),
    )


def _limited(model: Novelty, distances: Floats, lengths: Floats, quantile: float) -> Novelty:
    """The model with its limits, by `distances` and `length_differences` of held-out images."""
    limit, length_limit = _at(quantile, distances), _at(quantile, lengths)
    scores_of_both = np.maximum(distances / limit, lengths / length_limit)
    # Each part has images of its own above 1; no rounding may lift the image at the limit above it.
    both = _at(quantile, scores_of_both) * (1 + 1e-9)
    return replace(model, limit=limit * both, length_limit=length_limit * both)


def log_lengths(features: Features) -> Floats:
    """Return (images,) the natural logarithms of the rows' lengths."""
    lengths = np.linalg.norm(np.asarray(features, np.float64), axis=1)
    return np.asarray(np.log(np.maximum(lengths, SMALLEST_VARIANCE)))


def cross_fit(
    features: Features, fold: npt.NDArray[np.int64], quantile: float
) -> tuple[Novelty, Floats] | None:
    """Fit the distribution of all images, with the limits from images held out fold by fold.

    Args:
        features: (images, channels).
        fold: (images,) numbers; each fold is measured by the distribution of the others.
        quantile: as in `fit`.

    Returns:
        The distribution and the score of each image, (images,), by the others' distribution; None
        with too few images, or if all are alike.
    """
    held_out = np.empty((2, len(features)))
    for number in np.unique(fold):
        of_fold = fold == number
        others = _distribution(features[~of_fold])
        if others is None:
            return None
        held_out[:, of_fold] = _parts(others, features[of_fold])
    model = _distribution(features)
    if model is None:
        return None
    limited = _limited(model, held_out[0], held_out[1], quantile)
    scores_held_out = np.maximum(held_out[0] / limited.limit, held_out[1] / limited.length_limit)
    return limited, scores_held_out


def _parts(model: Novelty, features: Features) -> tuple[Floats, Floats]:
    """Both parts of the score, before they are divided by their limits."""
    return model.distances(features), model.length_differences(features)


def unit_length(features: Features) -> Floats:
    """Divide each row by its length; a row of zeros stays."""
    values = np.asarray(features, np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1))


def write(novelty: Novelty, path: Path) -> str:
    """Write arrays to `path` (.npz, float32) and return the file's SHA-256."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(novelty, name), np.float32) for name in (*ARRAYS, *LENGTHS)
    }
    np.savez(content, **arrays)
    artifacts.write_bytes(path, content.getvalue())
    return provenance.fingerprint(path)


def read(path: Path, sha256: str) -> Novelty:
    """Return what `write` wrote.

    Raises:
        ArtifactError: it is missing, too large, damaged, or has another SHA-256.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist: run `dvc repro` to train the model again")
    if path.stat().st_size > LARGEST_FILE_BYTES or provenance.fingerprint(path) != sha256:
        raise ArtifactError(
            f"{path} is not the file that its training recorded: run `dvc repro` to rebuild it"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_FILE_BYTES:
                raise ValueError("too large")
        with np.load(path, allow_pickle=False) as arrays:
            kept = [*ARRAYS, *(LENGTHS if LENGTHS[0] in arrays else ())]
            read_arrays = [np.asarray(arrays[name], np.float64) for name in kept]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} cannot be read ({error}): run `dvc repro`") from error
    centre, directions, variances, *numbers = read_arrays
    fitting = [directions.shape[1:], directions.shape, directions.shape[:1], *[()] * len(numbers)]
    if directions.ndim != 2 or [part.shape for part in read_arrays] != fitting:
        raise ArtifactError(f"{path}: its arrays do not fit together: run `dvc repro`")
    return Novelty(centre, directions, variances, *(float(number) for number in numbers))


def separation(of_radiographs: Floats, of_others: Floats) -> dict[str, float | int | None]:
    """Return the AUC of other images' scores against radiographs', and the share flagged."""
    ordered = np.sort(of_radiographs)
    left, right = (np.searchsorted(ordered, of_others, side) for side in ("left", "right"))
    return {
        "images": len(of_others),
        "auc": scores.known(float((left + right).mean() / (2 * len(ordered)))),
        "flagged": share(of_others > 1),
    }


def known_scores(recorded: Mapping[str, Any], per_kind: int, seed: int) -> dict[str, Floats]:
    """Return the scores of drawn non-radiographs by kind that a training noted, if of just these.

    Args:
        recorded: `novelty` of training.json.
        per_kind: how many of each kind are meant.
        seed: by which they are drawn.
    """
    tried = recorded.get("non_radiographs", {})
    by_kind = {kind: np.asarray(values) for kind, values in tried.get("scores", {}).items()}
    of_these = tried.get("seed") == seed and {len(v) for v in by_kind.values()} == {per_kind}
    return by_kind if of_these else {}


def _at(quantile: float, values: Floats) -> float:
    """The smallest of `values` that this share of new ones keeps; of few values the largest."""
    ordered = np.sort(values)
    rank = min(math.ceil((len(ordered) + 1) * quantile), len(ordered))
    return max(float(ordered[max(rank, 1) - 1]), SMALLEST_VARIANCE)


def _shrinkage(centred: Floats, variances: Floats) -> tuple[float, float]:
    """Ledoit and Wolf's share of the identity's multiple, and that multiple."""
    images, channels = centred.shape
    mean_variance = float(variances.sum() / channels)
    spread = float(np.square(variances).sum() / channels)  # of the squared eigenvalues
    distance = spread - mean_variance**2
    noise = float(np.square(np.square(centred).sum(axis=1)).mean() / channels - spread) / images
    return (min(noise, distance) / distance if distance > 0 else 1.0), mean_variance
