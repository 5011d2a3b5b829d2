"""Presets of the section train: what `auto` stands for, by the number of images to learn from.

Eight epochs are enough for a hundred images and for thousands: with more, a head learns them by
heart. A few hundred images of one net name a nearly untrained epoch as the best by chance: there
the last epoch is kept. docs/judging.md has the measurements.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, Final

from knee.run.parameters import Params

FEW_IMAGES: Final = 1_000  # below
log = logging.getLogger(__name__)


def resolved(settings: Params, images: int) -> Params:
    """Return `settings` with a value in the place of each `auto` of train, and say which.

    `images` are the different ones of train and val.
    """
    chosen = settings.train
    few = images < FEW_IMAGES
    suited: dict[str, Any] = {
        "epochs": 8,
        "learning_rate": 0.001,
        "keep_epoch": "last" if few else "best",
    }
    wanted = {key: value for key, value in suited.items() if getattr(chosen, key) == "auto"}
    if wanted:
        size = "few" if few else "many"
        named = ", ".join(f"{key} {value}" for key, value in wanted.items())
        log.info("train: for %s images (%d) auto means %s", size, images, named)
    return dataclasses.replace(settings, train=dataclasses.replace(chosen, **wanted))
