"""Feature maps of the frozen backbone, once per image; training starts from them.

python -m stages.embed --backbone mobilenet --pixels PIXELS.npy --features-out FOLDER

FOLDER holds features.npy, and design.json, which says what they are. Where the whole backbone is
trained there is nothing to compute: design.json stands alone, and training reads the pixels.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages import params
from stages.classifier.design import BackboneDesign, DesignError, write_design
from stages.radiographs import artifacts

log = logging.getLogger(__name__)


def run(settings: params.Params, *, backbone: str, pixels_in: Path, features_out: Path) -> None:
    """Embed `pixels_in`, uint8 (rows, side, side), into the folder `features_out`."""
    pixels = np.load(pixels_in, mmap_mode="r")
    design = BackboneDesign(
        name=backbone,
        side_pixels=pixels.shape[1],
        weights=settings.weights,
        train_from=settings.model.train_from,
        unit_scaling=settings.model.pixel_scaling == "unit",
    )
    with artifacts.staged_folder(features_out) as folder:
        write_design(design, folder)
        if design.cut == "all":
            log.info("%s is trained as a whole: there are no features to keep", backbone)
            return
        from stages.classifier import cut, features  # TensorFlow: ten seconds, only where needed

        shape = features.embed(
            cut.frozen_part(design), pixels, folder, mirrored=settings.embed.mirrored_view
        )
        log.info("%s: %d views x %d images, feature maps %s", backbone, *shape[:2], shape[2:])


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--pixels", type=Path, required=True)
    parser.add_argument("--features-out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(
            params.load(arguments.params),
            backbone=arguments.backbone,
            pixels_in=arguments.pixels,
            features_out=arguments.features_out,
        )
    except (params.ParamsError, DesignError, FileNotFoundError) as error:
        sys.stderr.write(f"embed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
