"""Download the data set that `data.dataset` names, if `data.downloads` asks for it.

    python -m stages.fetch --files-out FOLDER --record-out FILE.json

The record names every file with its size and SHA-256.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.params import Params, ParamsError, load
from stages.radiographs import kaggle

log = logging.getLogger(__name__)


def run(settings: Params, *, files_out: Path, record_out: Path) -> None:
    """Fill `files_out`, replaced as a whole."""
    count = kaggle.download(settings.data.dataset, files_out, record_out)
    log.info("%d files of %s in %s", count, settings.data.dataset, files_out)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--files-out", type=Path, required=True)
    parser.add_argument("--record-out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = load(arguments.params)
        run(settings, files_out=arguments.files_out, record_out=arguments.record_out)
    except (ParamsError, kaggle.DownloadError, OSError) as error:
        sys.stderr.write(f"fetch: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
