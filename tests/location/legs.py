"""Synthetic films of another seed than that of the training."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.locator import sources
from knee.storage.arrays import Pixels


@functools.cache
def drawn() -> tuple[sources.Source, ...]:
    """Two whole legs and two close-ups, one after the other."""
    return tuple(sources.synthetic(4, 256, seed=77))


def bilateral() -> Pixels:
    """Two legs side by side, seen from the front: the fibulae lie outside."""
    legs = [one.pixels if one.lateral_right else one.pixels[:, ::-1] for one in drawn()[::2]]
    height = min(len(leg) for leg in legs)
    return np.concatenate([legs[0][:height, ::-1], legs[1][:height]], axis=1)
