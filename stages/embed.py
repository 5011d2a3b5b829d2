r"""Feature maps of the frozen backbone, once per image; training starts from them.

python -m stages.embed --backbone mobilenet --pixels PIXELS.npy --partial FOLDER \
    --features-out FOLDER

The last FOLDER holds features.npy, design.json and embedding.json, which say what they are. Where
the whole backbone is trained there is nothing to compute: design.json stands alone, and training
reads the pixels. A killed run goes on from its last chunk when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from knee.classifier.features import embedding, engines, feature_source
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign, DesignError, write_design
from knee.run import command, parameters
from knee.storage import artifacts, provenance, row_files

ERRORS = (
    DesignError,
    engines.EngineError,
    artifacts.ArtifactError,
)
log = logging.getLogger(__name__)


def run(
    settings: parameters.Params,
    *,
    backbone: str,
    pixels_in: Path,
    partial: Path,
    features_out: Path,
) -> None:
    """Embed `pixels_in`, uint8 (rows, side, side), into the folder `features_out`.

    `partial` is a folder for what is not finished yet.
    """
    pixels = row_files.RowFile(pixels_in, has_views=False)
    design = BackboneDesign(
        name=backbone,
        side_pixels=pixels.shape[2],
        weights=settings.weights,
        train_from=settings.model.train_from,
        unit_scaling=settings.model.pixel_scaling == "unit",
    )
    with artifacts.staged_folder(features_out) as folder:
        write_design(design, folder)
        if design.cut == "all":
            log.info("%s is trained as a whole: there are no features to keep", backbone)
            return
        chosen = settings.embed
        engine = engines.choose(chosen.engine, chosen.precision)
        views = Views(chosen.mirrored_view, chosen.augmented_views, chosen.seed)
        forward, origin = embedding.frozen_forward(design, engine)
        origin |= {"views": views.kinds, "seed": views.seed}
        facts = {**dataclasses.asdict(design), **origin}
        key = provenance.key({**facts, "pixels": provenance.fingerprint(pixels_in)})
        out = folder / feature_source.FEATURES
        shape = embedding.embed(forward, pixels, views, partial, key, out)
        artifacts.write_json(folder / feature_source.ORIGIN, origin)
        log.info(
            "%s: %d views x %d images, feature maps %s, by %s in %s",
            backbone,
            *shape[:2],
            shape[2:],
            engine.name,
            engine.precision,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--pixels", type=Path, required=True, dest="pixels_in")
    parser.add_argument("--partial", type=Path, required=True)
    parser.add_argument("--features-out", type=Path, required=True)
    return command.run("embed", parser.parse_args(argv), command.by_keyword(run), ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
