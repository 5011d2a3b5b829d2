"""Images that are no radiographs, drawn in code, to try the out-of-distribution (OOD) score on.

They are synthetic, and only some of the kinds that a folder may hold: results on them show that the
score works at all, not how well it does on what a hospital's archive really mixes up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from knee.storage.arrays import Pixels

Random = np.random.Generator

CANVAS_PIXELS: Final = 256  # side of what is drawn, before it is brought to the model's size
WORDS: Final = ("invoice", "patient", "date", "total", "consent", "ward", "letter", "please")


def draw_all(side_pixels: int, images_per_kind: int, seed: int) -> dict[str, Pixels]:
    """Return images by kind, uint8 (images_per_kind, side, side) each; the same for a seed."""
    drawn = {}
    for number, (kind, draw) in enumerate(DRAWN.items()):
        randoms = (np.random.default_rng((seed, number, n)) for n in range(images_per_kind))
        drawn[kind] = np.stack([_canonical(draw(random), side_pixels) for random in randoms])
    return drawn


def corrupted(images: Pixels) -> dict[str, Pixels]:
    """Return `images`, uint8 (n, side, side), made invalid: upside down, and gray inverted."""
    return {"upside_down": images[:, ::-1], "inverted": 255 - images}


def _noise(random: Random) -> Image.Image:
    """Every pixel on its own."""
    values = random.integers(0, 256, (CANVAS_PIXELS, CANVAS_PIXELS))
    return Image.fromarray(values.astype(np.uint8))


def _clouds(random: Random) -> Image.Image:
    """Blurred noise, stretched to the whole range of grays."""
    cells = int(random.integers(4, 24))
    coarse = Image.fromarray(random.integers(0, 256, (cells, cells)).astype(np.uint8))
    return coarse.resize((CANVAS_PIXELS, CANVAS_PIXELS), Image.Resampling.BICUBIC)


def _text(random: Random) -> Image.Image:
    """A printed page."""
    page = Image.new("L", (CANVAS_PIXELS, CANVAS_PIXELS), int(random.integers(225, 256)))
    draw = ImageDraw.Draw(page)
    size = int(random.integers(9, 16))
    font = ImageFont.load_default(size)
    for top in range(12, CANVAS_PIXELS - 20, size + 4):
        if random.random() < 0.85:
            line = " ".join(random.choice(WORDS, int(random.integers(2, 8))))
            draw.text((14, top), line, fill=int(random.integers(0, 60)), font=font)
    return page


def _scene(random: Random) -> Image.Image:
    """A colour photograph's stand-in: sky, hills, houses, trees, sun, film grain."""
    image = Image.new("RGB", (CANVAS_PIXELS, CANVAS_PIXELS), _colour(random, 120))
    draw = ImageDraw.Draw(image)
    horizon = int(random.integers(90, 170))
    for hill in range(3):
        base = horizon + 25 * hill
        across = np.linspace(0, CANVAS_PIXELS, 9)
        tops = base + random.integers(-22, 22, len(across))
        outline = [(float(x), float(y)) for x, y in zip(across, tops, strict=True)]
        corners = [(CANVAS_PIXELS, CANVAS_PIXELS), (0, CANVAS_PIXELS)]
        draw.polygon([*outline, *corners], fill=_colour(random, 0))
    for _ in range(int(random.integers(3, 8))):
        left, width = int(random.integers(0, 220)), int(random.integers(15, 50))
        top = horizon + int(random.integers(-15, 60))
        box = (left, top, left + width, top + int(random.integers(20, 70)))
        if random.random() < 0.5:
            draw.rectangle(box, fill=_colour(random, 0), outline=(0, 0, 0))
        else:
            draw.ellipse(box, fill=_colour(random, 0))
    grain = random.normal(0, 6, (CANVAS_PIXELS, CANVAS_PIXELS, 3))
    values = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float64) + grain
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _chart(random: Random) -> Image.Image:
    """A drawing on a screen: bars, a curve, a frame."""
    image = Image.new("L", (CANVAS_PIXELS, CANVAS_PIXELS), 250)
    draw = ImageDraw.Draw(image)
    draw.rectangle((24, 16, 240, 228), outline=0, width=2)
    for left in range(36, 230, 24):
        top = int(random.integers(40, 220))
        draw.rectangle((left, top, left + 14, 228), fill=int(random.integers(40, 200)))
    curve = [(24 + 12 * n, int(y)) for n, y in enumerate(random.integers(30, 220, 18))]
    draw.line(curve, fill=0, width=2)
    return image


def _blank(random: Random) -> Image.Image:
    """One gray: an unexposed plate, a failed scan."""
    return Image.new("L", (CANVAS_PIXELS, CANVAS_PIXELS), int(random.integers(0, 256)))


def _colour(random: Random, darkest: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(darkest, 256, 3))
    return red, green, blue


def _canonical(image: Image.Image, side_pixels: int) -> Pixels:
    size = (side_pixels, side_pixels)
    return np.asarray(image.convert("L").resize(size, Image.Resampling.BILINEAR), np.uint8)


DRAWN: Final[dict[str, Callable[[Random], Image.Image]]] = {
    "noise": _noise,
    "clouds": _clouds,
    "text": _text,
    "scene": _scene,
    "chart": _chart,
    "blank": _blank,
}
