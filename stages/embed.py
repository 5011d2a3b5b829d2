"""Feature maps of the frozen backbone, once per image; training starts from them.

The folder holds features, in shards, design.json and embedding.json, which say what they are. Where
the whole backbone is trained there is nothing to compute: design.json stands alone, and training
reads the pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import Any

from knee.classifier.features import embedding, engines, feature_source
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign, write_design
from knee.run import command, parameters
from knee.storage import artifacts, row_files
from knee.storage.known_results import KnownResults

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    pixels: Path = command.flag("canonical pixels of ingest")
    known_results: Path = command.flag("folder of what an earlier run computed; may be removed")
    features_out: Path = command.flag("folder of features, design.json and embedding.json")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Embed `pixels`, uint8 (rows, side, side), into the folder `features_out`."""
    pixels = row_files.RowFile(paths.pixels, has_views=False)
    design = BackboneDesign(
        name=paths.backbone,
        side_pixels=pixels.shape[2],
        weights=settings.weights,
        train_from=settings.model.train_from,
        unit_scaling=settings.model.pixel_scaling == "unit",
    )
    with artifacts.staged_folder(paths.features_out) as folder:
        write_design(design, folder)
        if design.depth == "all":
            log.info("%s is trained as a whole: there are no features to keep", paths.backbone)
            return
        chosen = settings.embed
        engine = engines.choose(chosen.engine, chosen.precision)
        views = Views(chosen.mirrored_view, chosen.augmented_views, chosen.seed)
        forward, origin = embedding.frozen_forward(design, engine)
        out = folder / feature_source.FEATURES
        facts = {"design": dataclasses.asdict(design), "origin": dict(origin)}
        with _known(paths.known_results, facts, engine) as known:
            shape = embedding.embed(forward, pixels, views, out, known)
        origin |= {"views": views.kinds, "seed": views.seed}
        artifacts.write_json(folder / feature_source.ORIGIN, origin)
        text = "%s: %d images x %d views, feature maps %s, by %s in %s"
        log.info(text, paths.backbone, *shape[:2], shape[2:], engine.name, engine.precision)


def _known(
    folder: Path, facts: dict[str, Any], engine: engines.Engine
) -> contextlib.AbstractContextManager[KnownResults | None]:
    """What an earlier run computed, where an image's features are the same in every run and batch.

    Weights drawn at random are others in each run; of GPUs it is not known.
    """
    if engine.name != "openvino" or facts["design"]["weights"] == "none":
        return contextlib.nullcontext()
    return KnownResults(folder, facts)


main = command.stage("embed", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
