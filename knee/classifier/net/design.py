"""The design of a frozen backbone; importable without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from knee.run.errors import UserError
from knee.storage import artifacts

DESIGN = "design.json"


class DesignError(UserError):
    """A design that cannot be built: an unknown backbone or layer, or missing weights."""


def check_weights(weights: str, name: str) -> None:
    """Raise `DesignError` if `weights` names a folder without a file for the backbone `name`."""
    file = Path(weights) / f"{name}.h5"
    if weights not in ("none", "imagenet") and not file.is_file():
        raise DesignError(
            f"weights: {file} does not exist; give none, imagenet, or a folder that holds "
            f"{name}.h5 (ImageNet weights without the top, in Keras' format)"
        )


@dataclass(frozen=True)
class BackboneDesign:
    """All that decides what a frozen backbone computes.

    Attributes:
        name: row of the table of backbones.
        side_pixels: side of the square input.
        weights: "none", "imagenet" or a folder with `<backbone>.h5`.
        train_from: "auto" (all without weights, else head), "head", "all", a layer's name or
            several of them, separated by spaces, of which one is this backbone's.
        unit_scaling: scale pixels to 0-1 instead of what the backbone was pretrained on.
    """

    name: str
    side_pixels: int
    weights: str = "none"
    train_from: str = "auto"
    unit_scaling: bool = False

    @property
    def depth(self) -> str:
        """The fine-tuning depth: `train_from` with "auto" resolved."""
        if self.train_from != "auto":
            return self.train_from
        return "all" if self.weights == "none" else "head"


def write_design(design: BackboneDesign, folder: Path) -> None:
    """Record in `folder` which frozen backbone its features come from."""
    artifacts.write_json(folder / DESIGN, dict(sorted(vars(design).items())))


def read_design(folder: Path) -> BackboneDesign:
    """Read what `write_design` recorded."""
    return BackboneDesign(**artifacts.read_json(folder / DESIGN))
