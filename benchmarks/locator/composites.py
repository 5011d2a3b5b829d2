"""Films put together from pictures of one knee, so that every joint's place and width is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.locator.sources import Source
from knee.storage.arrays import Images, Pixels
from knee.synthetic import non_radiographs

LONGER_PIXELS: Final = 400  # of a film, at most
Kind = Literal["crop", "one", "leg", "pair", "none"]
SHARES: Final[dict[Kind, float]] = {
    "crop": 0.15, "one": 0.25, "leg": 0.15, "pair": 0.33, "none": 0.12,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Joint:
    """The truth about one joint, px of the film."""

    x: float
    y: float
    width: float
    lateral_right: bool
    upright: bool  # turned by no more than 15 degrees
    turned: bool  # by more than 45 degrees


NO_JOINT: Final[tuple[Joint, ...]] = ()


@dataclasses.dataclass(frozen=True)
class Film:
    """A film and its joints, from left to right."""

    pixels: Pixels
    joints: tuple[Joint, ...]
    kind: Kind
    graded: bool  # whether its joints are of real films


def draw_film(
    sources: Sequence[Source], random: np.random.Generator, turned_share: float = 0.2
) -> Film:
    """Draw a film; `turned_share` of those that are no crops are turned by any angle."""
    kinds: list[Kind] = [*SHARES]
    kind = kinds[int(random.choice(len(kinds), p=[*SHARES.values()]))]
    source = sources[int(random.integers(len(sources)))]
    if kind == "none":
        gray, joints = _without_knee(source, random), NO_JOINT
    elif kind == "crop" and source.whole_crop:
        gray, joints = _jittered(source, random)
    else:
        if kind == "crop":
            kind = "one"
        gray, joints = _placed(kind, source, sources, random, turned_share)
    pixels = _developed(gray, joints, random)
    return Film(pixels, tuple(sorted(joints, key=lambda one: one.x)), kind, source.graded)


def _jittered(source: Source, random: np.random.Generator) -> tuple[Images, tuple[Joint, ...]]:
    """A crop much as it is: shifted and scaled by a few percent."""
    side = len(source.pixels)
    width = source.width * random.uniform(0.92, 1.2)
    x, y = source.x + random.normal(0, 0.02, 2)[0] * side, source.y + random.normal(0, 0.02) * side
    canvas, joint = _pasted(np.zeros((side, side), np.float32), source, x, y, width,
                            random.normal(0, 2), mirrored=False)  # fmt: skip
    return canvas, (joint,)


def _placed(
    kind: Kind, source: Source, sources: Sequence[Source], random: np.random.Generator,
    turned_share: float,
) -> tuple[Images, tuple[Joint, ...]]:  # fmt: skip
    """One or two knees on an empty film."""
    uniform = random.uniform
    shape = _shape(kind, random)
    height, width = shape
    angle = random.normal(0, 4)
    if random.random() < turned_share:
        angle = uniform(-180, 180)
    base = np.full(shape, uniform(0, 40) if random.random() < 0.7 else uniform(40, 140), np.float32)
    if kind != "pair":
        joint_width = min(width * uniform(0.25, 0.85), 1.1 * height)
        if kind == "leg":
            joint_width = min(width * uniform(0.2, 0.55), height * uniform(0.07, 0.2))
        places = [(width * uniform(0.3, 0.7), height * uniform(0.25, 0.75), joint_width)]
        chosen = [(source, bool(random.random() < 0.5))]
    else:
        joint_width = min(width * uniform(0.13, 0.4), 1.1 * height)
        apart = uniform(max(1.25 * joint_width, 0.2 * width), width - 1.0 * joint_width)
        middle, y = width * uniform(0.46, 0.54), height * uniform(0.25, 0.75)
        lift = random.normal(0, 0.1, 2) * joint_width
        places = [
            (middle + sign * apart / 2, y + float(up), joint_width * uniform(0.95, 1.05))
            for sign, up in zip((-1, 1), lift, strict=True)
        ]
        alike = [one for one in (sources[int(i)] for i in random.integers(len(sources), size=12))
                 if one.graded == source.graded]  # fmt: skip
        other = source if random.random() < 0.3 or not alike else alike[0]
        # Seen from the front, both fibulae lie outside; a few films are otherwise.
        outside = random.random() < 0.9
        flips = source.lateral_right == outside, other.lateral_right != outside
        chosen = [*zip((source, other), flips, strict=True)]
    turned = [(*_turned_about(x, y, shape, angle), breadth) for x, y, breadth in places]
    if all(_well_inside(x, y, breadth, shape) for x, y, breadth in turned):
        places = turned
    else:
        angle = random.normal(0, 3)
    joints = []
    for index, ((one, mirrored), (x, y, breadth)) in enumerate(zip(chosen, places, strict=True)):
        pasted, joint = _pasted(
            base, one, x, y, breadth, angle + random.normal(0, 2), mirrored=mirrored
        )
        base = np.where(_nearer(index, places, shape), pasted, base)
        joints.append(joint)
    return base, tuple(joints)


def _well_inside(x: float, y: float, breadth: float, shape: tuple[int, int]) -> bool:
    margin = 0.4 * breadth
    return margin <= x <= shape[1] - margin and margin <= y <= shape[0] - margin


def _nearer(
    index: int, places: Sequence[tuple[float, float, float]], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which pixels are nearer to a place than to the other one."""
    if len(places) == 1:
        return np.ones(shape, bool)
    rows, columns = np.indices(shape, dtype=np.float32)
    own, other = (np.hypot(columns - x, rows - y) for x, y, _ in
                  (places[index], places[1 - index]))  # fmt: skip
    return np.asarray(own <= other)


def _shape(kind: Kind, random: np.random.Generator) -> tuple[int, int]:
    """Height and width of a film."""
    low, high = {"pair": (0.25, 1.3), "leg": (1.3, 3.4)}.get(kind, (0.75, 1.7))
    ratio = math.exp(random.uniform(math.log(low), math.log(high)))  # height to width
    longer = random.integers(224, LONGER_PIXELS + 1)
    height, width = longer * min(1, ratio), longer * min(1, 1 / ratio)
    return max(round(height), 48), max(round(width), 48)


def _turned_about(
    x: float, y: float, shape: tuple[int, int], degrees: float
) -> tuple[float, float]:
    """A point turned about the middle of the film."""
    angle = math.radians(degrees)
    u, v = x - shape[1] / 2, y - shape[0] / 2
    return (
        shape[1] / 2 + math.cos(angle) * u - math.sin(angle) * v,
        shape[0] / 2 + math.sin(angle) * u + math.cos(angle) * v,
    )


def _pasted(
    base: Images, source: Source, x: float, y: float, width: float, degrees: float, *,
    mirrored: bool,
) -> tuple[Images, Joint]:  # fmt: skip
    """`base` with a knee whose joint lies at x, y, `width` px wide, and the joint."""
    height, breadth = base.shape
    scale = source.width / width
    cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    flip = -1 if mirrored else 1
    # From a pixel of the film to one of the source.
    affine = (
        flip * cosine, flip * sine, source.x - flip * (cosine * x + sine * y),
        -sine, cosine, source.y + sine * x - cosine * y,
    )  # fmt: skip
    pixels = source.pixels
    if scale > 1.5:  # antialiased
        factor = int(scale)
        rows, columns = (side - side % factor for side in pixels.shape)
        small = pixels[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
        pixels = np.rint(small.mean(axis=(1, 3))).astype(np.uint8)
        affine = tuple(value / factor for value in affine)  # type: ignore[assignment]
    method, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    moved = Image.fromarray(pixels).transform((breadth, height), method, affine, bilinear)
    inside = Image.fromarray(np.full(pixels.shape, 255, np.uint8)).transform(
        (breadth, height), method, affine, bilinear
    )
    mask = np.asarray(inside, dtype=np.float32) / 255
    result = base * (1 - mask) + np.asarray(moved, dtype=np.float32) * mask
    lateral_right = source.lateral_right != mirrored
    joint = Joint(x, y, width, lateral_right, abs(degrees) <= 15, abs(degrees) > 45)
    return np.asarray(result, dtype=np.float32), joint


def _without_knee(source: Source, random: np.random.Generator) -> Images:
    """A shaft beside the joint, or something that is no radiograph."""
    if random.random() < 0.5 or source.whole_crop:
        kinds = non_radiographs.draw_all(160, 1, int(random.integers(1 << 30)))
        chosen = kinds[sorted(kinds)[int(random.integers(len(kinds)))]]
        return np.asarray(chosen[0], dtype=np.float32)
    height = len(source.pixels)
    reach = 0.85 * source.width
    above, below = int(source.y - reach), int(source.y + reach)
    part = source.pixels[: max(above, 0)] if above > height - below else source.pixels[below:]
    if min(part.shape) < 24:
        return np.full((160, 160), random.uniform(0, 255), np.float32)
    return np.asarray(part, dtype=np.float32)


def _developed(film: Images, joints: Sequence[Joint], random: np.random.Generator) -> Pixels:
    """Collimation, markers, implants, exposure, noise and negatives."""
    gray: NDArray[np.floating] = film
    if random.random() < 0.25:
        gray = _collimated(gray, joints, random)
    gray = 255 * (np.clip(gray, 0, 255) / 255) ** random.uniform(0.6, 1.6)
    gray = gray * random.uniform(0.5, 1.0) + random.uniform(0, 60)
    if random.random() < 0.3:
        gray = gray + random.normal(0, random.uniform(1, 9), gray.shape)
    image = Image.fromarray(np.clip(np.rint(gray), 0, 255).astype(np.uint8))
    if random.random() < 0.4:
        _mark(image, random)
    result = np.asarray(image)
    return 255 - result if random.random() < 0.06 else result


def _collimated(gray: Images, joints: Sequence[Joint], random: np.random.Generator) -> Images:
    """`gray` in a frame that hides nothing of its `joints`."""
    height, width = gray.shape
    margins = random.uniform(0, 0.12, 4) * (height, height, width, width)
    for one in joints:
        across, down = 0.5 * one.width, 0.4 * one.width
        beside = one.y - down, height - one.y - down, one.x - across, width - one.x - across
        margins = np.clip(margins, 0, np.maximum(beside, 0))
    top, bottom, left, right = margins.astype(int).tolist()
    framed = np.full_like(gray, random.choice([0.0, 0.0, 0.0, 255.0]))
    inside = slice(top, height - bottom), slice(left, width - right)
    framed[inside] = gray[inside]
    return framed


def _mark(image: Image.Image, random: np.random.Generator) -> None:
    """Lead letters, and screws or plates as bright bars."""
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(1, 4))):
        x, y = random.uniform(0, image.width), random.uniform(0, image.height)
        size = max(int(random.uniform(0.03, 0.08) * max(image.size)), 6)
        if random.random() < 0.6:
            text = "LR"[int(random.integers(2))]
            draw.text((x, y), text, int(random.integers(170, 256)), ImageFont.load_default(size))
        else:
            bend = random.normal(0, 1.5 * size, 2)
            draw.line((x, y, x + bend[0], y + bend[1]), 255, max(size // 5, 1))
