"""Feature maps of the frozen backbone, once per image of the split; training starts from them.

The folder holds features, in shards, design.json, embedding.json and images.npy, which say what
they are. Copies, and other images that no subset has, are not embedded. Where the whole backbone is
trained there is nothing to compute: design.json stands alone, and training reads the pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from knee.classifier.features import embedding, engines, feature_source, feature_tasks
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign, write_design
from knee.execution.local import Inline
from knee.execution.opening import Opened
from knee.execution.place import Place
from knee.run import command, parameters
from knee.splits import split_images
from knee.storage import artifacts, row_files
from knee.storage.known_results import KnownResults

RANDOM = (
    "weights=none: the frozen layers are drawn at random here, and drawn again for the net that is "
    "trained, so its answers will be worth nothing: give trained weights, or model.train_from=all"
)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    pixels: Path = command.flag("canonical pixels of ingest")
    images: Path = command.flag("images of all subsets, of split")
    known_results: Path = command.flag("folder of what an earlier run computed; may be removed")
    features_out: Path = command.flag("folder of features, design.json and embedding.json")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Embed images of `pixels`, uint8 (rows, side, side), into the folder `features_out`."""
    pixels = row_files.RowFile(paths.pixels, has_views=False)
    images = split_images.read_images(paths.images)
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
        if design.weights == "none":
            log.warning(RANDOM)
        chosen = settings.embed
        engine = engines.choose(chosen.engine, chosen.precision)
        views = Views(chosen.mirrored_view, chosen.augmented_views, chosen.seed)
        net = embedding.FrozenNet(design, engine)
        origin = net.origin()
        facts = {"design": dataclasses.asdict(design), "origin": dict(origin)}
        shape = embedding.forward_of(net).output_shape
        out = folder / feature_source.FEATURES
        placed = _placed(net, settings.execution)
        with (
            _known(net, paths.known_results, facts) as known,
            _opened(placed, settings) as place_of,
        ):
            by_nodes = folder / "by_nodes"
            compute = feature_tasks.compute_at(place_of(), placed, pixels, views, by_nodes)
            shape = embedding.embed(compute, shape, pixels, images, views, out, known)
        feature_source.write_images(images, folder)
        origin |= {"views": views.kinds, "seed": views.seed}
        artifacts.write_json(folder / feature_source.ORIGIN, origin)
        text = "%s: %d images x %d views, feature maps %s, by %s in %s"
        log.info(text, paths.backbone, *shape[:2], shape[2:], engine.name, engine.precision)


def _known(
    net: embedding.FrozenNet, folder: Path, facts: dict[str, Any]
) -> contextlib.AbstractContextManager[KnownResults | None]:
    """What an earlier run computed, where it would be computed again to the same bits."""
    if not net.is_the_same_everywhere:
        return contextlib.nullcontext()
    return KnownResults(folder, facts)


def _placed(net: embedding.FrozenNet, execution: parameters.Execution) -> embedding.FrozenNet:
    """The net as a worker has it: of a cluster with the cores of one task."""
    return net if execution.engine == "local" else dataclasses.replace(net, cores=execution.cpus)


def _opened(
    net: embedding.FrozenNet, settings: parameters.Params
) -> contextlib.AbstractContextManager[Callable[[], Place]]:
    """The place of work; this process, where another one would compute other bits."""
    if not net.is_the_same_everywhere:
        return contextlib.nullcontext(Inline)
    return Opened(settings.execution, partial(embedding.trial, net))


main = command.stage("embed", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
