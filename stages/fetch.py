"""Download the data set that `data.dataset` names, if `data.downloads` asks for it.

    python -m stages.fetch --files-out FOLDER --record-out FILE.json

The record names every file with its size and SHA-256.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from knee.intake import kaggle
from knee.run import command, parameters

log = logging.getLogger(__name__)


def run(settings: parameters.Params, *, files_out: Path, record_out: Path) -> None:
    """Fill `files_out`, replaced as a whole."""
    count = kaggle.download(settings.data.dataset, files_out, record_out)
    log.info("%d files of %s in %s", count, settings.data.dataset, files_out)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--files-out", type=Path, required=True)
    parser.add_argument("--record-out", type=Path, required=True)
    return command.run(
        "fetch", parser.parse_args(argv), command.by_keyword(run), (kaggle.DownloadError,)
    )


if __name__ == "__main__":
    raise SystemExit(main())
