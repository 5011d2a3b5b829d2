"""What can be told of a run before anything takes long: paths, weights, the sheet's header."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from knee.classifier.net import design
from knee.health import downloads
from knee.intake import inputs, sheet_columns, spreadsheet
from knee.run import command, parameters

LARGEST_SHEET_BYTES: Final = 1 << 20  # ingest reads a larger one, before any image
log = logging.getLogger(__name__)


def check(settings: parameters.Params) -> None:
    """Check the paths of `settings`; what earlier stages make need not be there yet.

    Raises:
        UserError: something is missing or cannot be used; the message names its key.
    """
    for name in settings.model.backbones:
        design.check_weights(settings.weights, name)
    inputs.check("split.keep", Path(settings.split.keep))
    data = settings.data
    inputs.check("data.decisions", Path(data.decisions))
    if data.generators or data.downloads:
        inputs.check_made("data.path", Path(data.path), data.name)
    else:
        inputs.check_folder(Path(data.path), Path(data.manifest))
        inputs.check("data.bone_masks", Path(data.bone_masks))
        sheet = Path(data.sheet)
        inputs.check("data.sheet", sheet)
        if sheet.is_file() and sheet.stat().st_size <= LARGEST_SHEET_BYTES:
            _check_header(sheet)


def check_downloads(settings: parameters.Params) -> None:
    """Log what Keras will download for `settings`.

    Raises:
        OfflineError: there is something to download, and no network.
    """
    said = downloads.announce(settings.model.backbones) if settings.weights == "imagenet" else ""
    if said:
        log.info("%s", said)


def _check_header(sheet: Path) -> None:
    try:
        sheet_columns.named(spreadsheet.read_rows(sheet), sheet)
    except spreadsheet.SheetError as error:
        raise inputs.InputError(f"data.sheet: {error}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Check params.yaml and what it names; `make repro` does it before DVC, which takes seconds."""
    chosen = command.parser(main.__doc__).parse_args(argv)

    def work() -> int:
        check(parameters.load(chosen.params))
        return 0

    return command.exit_status("repro", work)


if __name__ == "__main__":
    raise SystemExit(main())
