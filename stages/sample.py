r"""Make the embedded sample: synthetic knee radiographs in one folder a class.

    python -m stages.sample --images-out FOLDER --bone-masks-out FOLDER --truth-out FILE.json \
        --contact-sheet-out FILE.png

Reads only the section `sample` of the parameters. The truth file is for tests: it lists patient,
T-score and planted fault of every file. The masks say which pixels show bone: explain reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from knee.run import command, parameters
from knee.synthetic.cohort import SampleError, write_sample
from knee.synthetic.sample_sheet import contact_sheet

LOGGER = logging.getLogger(__name__)


def run(
    settings: parameters.Params,
    *,
    images_out: Path,
    bone_masks_out: Path,
    truth_out: Path,
    contact_sheet_out: Path,
) -> None:
    """Write images, bone masks, truth and contact sheet, each replaced as a whole."""
    films = write_sample(
        images_out,
        truth_out,
        patients=settings.sample.patients,
        size_pixels=settings.sample.size_pixels,
        seed=settings.sample.seed,
        masks_out=bone_masks_out,
    )
    contact_sheet(images_out, contact_sheet_out, films)
    LOGGER.info("%d synthetic radiographs, and copies of some, in %s", len(films), images_out)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--images-out", type=Path, required=True)
    parser.add_argument("--bone-masks-out", type=Path, required=True)
    parser.add_argument("--truth-out", type=Path, required=True)
    parser.add_argument("--contact-sheet-out", type=Path, required=True)
    return command.run("sample", parser.parse_args(argv), command.by_keyword(run), (SampleError,))


if __name__ == "__main__":
    raise SystemExit(main())
