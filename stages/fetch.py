"""Download the data set that `data.dataset` names, if `data.downloads` asks for it.

The record names every file with its size and SHA-256.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from knee.intake import kaggle
from knee.run import command, parameters

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    files_out: Path = command.flag("folder of the downloaded files")
    record_out: Path = command.flag("JSON file: name, size and SHA-256 of every file")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Fill `files_out`, replaced as a whole."""
    count = kaggle.download(settings.data.dataset, paths.files_out, paths.record_out)
    log.info("%d files of %s in %s", count, settings.data.dataset, paths.files_out)


main = command.stage("fetch", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
