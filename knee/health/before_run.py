"""What can be told of a run before anything takes long: paths, weights, the sheet's header."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from knee.classifier.net import design
from knee.health import downloads
from knee.intake import inputs, manifest, sheet_columns, spreadsheet
from knee.location import film_labels
from knee.run import overrides, parameters
from knee.run.messages import listed
from knee.run.parameters import ParamsError

CONF: Final = Path("conf")
NO_MASKS: Final = "conf/no_bone_masks"
SHOWN: Final = 5  # overrides
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
    _check_located(settings)
    inputs.check("data.decisions", Path(data.decisions))
    if data.generators or data.downloads:
        inputs.check_made("data.path", Path(data.path), data.name)
    else:
        inputs.check_folder(Path(data.path), Path(data.manifest))
        if data.manifest != data.path:
            manifest.read(Path(data.manifest))
        inputs.check("data.bone_masks", Path(data.bone_masks))
        sheet = Path(data.sheet)
        inputs.check("data.sheet", sheet)
        if sheet.is_file() and sheet.stat().st_size <= LARGEST_SHEET_BYTES:
            _check_header(sheet, is_of_films=bool(settings.locate.locators))


def check_downloads(settings: parameters.Params) -> None:
    """Log what Keras will download for `settings`.

    Raises:
        OfflineError: there is something to download, and no network.
    """
    said = downloads.announce(settings.model.backbones) if settings.weights == "imagenet" else ""
    if said:
        log.info("%s", said)


def _check_located(settings: parameters.Params) -> None:
    """Check what ingest is to read: a params.yaml may have been edited by hand."""
    data, locate = settings.data, settings.locate
    read = (locate.images, locate.sheet, locate.manifest)
    if not locate.locators and read != (data.path, data.sheet, data.manifest):
        raise ParamsError(
            "locate.images, locate.sheet, locate.manifest: they are not data.path, data.sheet and "
            "data.manifest: edit conf, not params.yaml, and run make params"
        )
    if locate.locators and data.manifest != data.path:
        raise ParamsError(
            f"data.manifest: {data.manifest!r} is compared by ingest, which reads the knees that "
            "locate cuts: leave it out with locate=knees"
        )
    if locate.locators and data.bone_masks != NO_MASKS:
        raise ParamsError(
            "data.bone_masks: masks are of whole films, and locate cuts these: give "
            f"-S data.bone_masks={NO_MASKS}"
        )


def _check_header(sheet: Path, *, is_of_films: bool) -> None:
    try:
        lines = spreadsheet.read_rows(sheet)
        if is_of_films:
            film_labels.header(lines, sheet)
        else:
            sheet_columns.named(lines, sheet)
    except spreadsheet.SheetError as error:
        raise inputs.InputError(f"data.sheet: {error}") from None


def tell_leftovers(settings: parameters.Params, params: Path) -> None:
    """Log what an experiment may have left in `settings`, which were read from `params`."""
    if left := overrides.left_by_experiments(settings, CONF):
        log.info(
            "%s is not what conf/ composes, but that with %s, as a dvc exp run left it: make "
            "params puts it back",
            params,
            listed(left, SHOWN),
        )
