"""Free disk space against what the next run of the pipeline needs."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knee.health.project import Output
from knee.health.result import Result, size
from knee.storage.artifacts import ArtifactError
from knee.storage.row_files import RowFile

COPIES = 2  # of each output: in the workspace and in DVC's cache
KNOWN_COPIES = 1  # besides, of pixels and features: known results of the run before
MODEL_STAGES = ("train", "join", "distil")
MODEL_COPIES = 3  # besides: MLflow's, and the checkpoints with the optimizer's state
RESERVE_BYTES = 200_000_000  # MLflow's store, logs, reports, temporary files
STRIDE = 32  # pixels of the image to one of the feature map
CHANNELS = {"mobilenet": 1024}  # of the feature map
MOST_CHANNELS = 2048  # Xception's, and assumed of others
FEATURE_BYTES = 2  # float16


@dataclass(frozen=True)
class Plan:
    """The facts that decide how large pixels and features become."""

    images: int  # rows of the pixels; 0 if they are not known
    side_pixels: int  # of the canonical images
    views: int  # of each image that are embedded, its own included
    backbones: tuple[str, ...]  # those that are frozen, so that their features are kept

    @property
    def pixel_bytes(self) -> int:
        """Size of the canonical pixels."""
        return self.images * self.side_pixels**2

    @property
    def feature_bytes(self) -> int:
        """Size of all feature maps, at most: images that no subset has are not embedded."""
        cells = math.ceil(self.side_pixels / STRIDE) ** 2
        channels = sum(CHANNELS.get(name, MOST_CHANNELS) for name in self.backbones)
        return self.images * self.views * cells * channels * FEATURE_BYTES


def images_known(outputs: Sequence[Output], images: Path) -> int:
    """Count the rows of the pixels that ingest wrote, else the files of the folder `images`.

    Returns:
        The number of images; 0 if neither is there. Files in an archive are not counted.
    """
    for output in outputs:
        if output.stage == "ingest" and output.path.is_dir():  # its only folder
            try:
                return len(RowFile(output.path, has_views=False))
            except ArtifactError:
                return 0
    return sum(path.is_file() for path in images.rglob("*")) if images.is_dir() else 0


def estimated_bytes(outputs: Sequence[Output], plan: Plan) -> int:
    """Estimate the bytes that a whole run needs with all copies.

    Pixels and features are computed from the parameters where the number of images is known;
    all else is as large as dvc.lock says that it was.
    """
    recorded: Counter[str] = Counter()
    for output in outputs:
        recorded[output.stage.split("@")[0]] += output.size_bytes
    pixels, features = recorded.pop("ingest", 0), recorded.pop("embed", 0)
    if plan.images:
        pixels, features = plan.pixel_bytes, plan.feature_bytes
    copied = COPIES * sum(recorded.values()) + (COPIES + KNOWN_COPIES) * (pixels + features)
    models = sum(recorded[stage] for stage in MODEL_STAGES)
    return RESERVE_BYTES + copied + MODEL_COPIES * models


def check_space(needed: int, plan: Plan, folders: Mapping[str, Path]) -> Result:
    """Compare the free bytes of the disks of `folders` (name -> existing folder) to an estimate."""
    free = {name: shutil.disk_usage(path).free for name, path in folders.items()}
    name, least = min(free.items(), key=lambda item: item[1])
    basis = f"estimated for {plan.images} images" if plan.images else "estimated from dvc.lock"
    saying = f"{size(least)} free for {name}; a whole run needs about {size(needed)}, {basis}"
    if least < needed:
        remedy = (
            f"free {size(needed - least)}; `dvc gc --workspace` drops results of all experiments "
            "but the present one"
        )
        return Result("fault", saying, remedy)
    return Result("ok", saying)
