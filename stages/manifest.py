r"""Make the manifest of a folder of very many images: path, bytes and SHA-256 of every file.

python -m stages.manifest FOLDER --out MANIFEST.csv

With data.manifest=MANIFEST.csv DVC hashes that file in place of data.path, and ingest compares
every file. Run it again after the folder has changed: files of the same size and modification time
are not read again, by MANIFEST.csv.known beside it, which may be removed at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from knee.intake import manifest
from knee.run import command

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument("folder", type=Path, help="as data.path")
    parser.add_argument("--out", type=Path, required=True, help="manifest, CSV, not in the folder")
    parser.add_argument("--afresh", action="store_true", help="read every file again")
    given = parser.parse_args(argv)

    def work() -> int:
        made = manifest.make(given.folder, given.out, afresh=given.afresh)
        log.info("%s: %d files, %d of them read", given.out, *made)
        used = f"-S \"data.path='{given.folder}'\" -S \"data.manifest='{given.out}'\""
        log.info("to use it: dvc exp run -S data=folder %s", used)
        return 0

    return command.exit_status("manifest", work)


if __name__ == "__main__":
    raise SystemExit(main())
