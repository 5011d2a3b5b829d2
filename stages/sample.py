"""Make the embedded sample: synthetic knee radiographs in one folder a class.

Reads only the section `sample` of the parameters. The truth file is for tests: it lists patient,
T-score and planted fault of every file. The masks say which pixels show bone: explain reads them.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from knee.run import command, parameters
from knee.synthetic.cohort import write_sample
from knee.synthetic.sample_sheet import contact_sheet

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    images_out: Path = command.flag("folder of images, one sub-folder per class")
    bone_masks_out: Path = command.flag("folder of masks: which pixels show bone")
    truth_out: Path = command.flag("JSON file for tests: patient, T-score, planted fault")
    contact_sheet_out: Path = command.flag("PNG of some images")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Write images, bone masks, truth and contact sheet, each replaced as a whole."""
    radiographs = write_sample(
        paths.images_out,
        paths.truth_out,
        patients=settings.sample.patients,
        size_pixels=settings.sample.size_pixels,
        seed=settings.sample.seed,
        masks_out=paths.bone_masks_out,
    )
    contact_sheet(paths.images_out, paths.contact_sheet_out, radiographs)
    text = "%d synthetic radiographs, and copies of some, in %s"
    log.info(text, len(radiographs), paths.images_out)


main = command.stage("sample", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
