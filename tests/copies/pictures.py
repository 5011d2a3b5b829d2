"""Pictures for tests of copies: random fields with detail, and every kind of change."""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from knee.reading.canonical_image import resize
from knee.storage.arrays import Pixels

SIDE = 160


def picture(seed: int, side: int = SIDE) -> Pixels:
    """A random field, coarse and fine, as distinct from another seed's as two radiographs."""
    random = np.random.default_rng(seed)
    layers = [
        resize(random.integers(0, 256, (cells, cells), np.uint8), side, side).astype(float) * weight
        for cells, weight in ((5, 0.45), (9, 0.3), (18, 0.25))
    ]
    return np.asarray(np.clip(np.sum(layers, axis=0), 0, 255), np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Encoded and decoded again."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def changed(pixels: Pixels, how: str) -> Pixels:
    """A copy: one kind of change, or several joined by " and "."""
    for one in how.split(" and "):
        pixels = _changed(pixels, one)
    return pixels


def _changed(pixels: Pixels, how: str) -> Pixels:
    image = Image.fromarray(pixels)
    word, _, strength = how.partition(" ")
    number = float(strength or 0)
    width, height = image.size
    bicubic = Image.Resampling.BICUBIC
    if word == "jpeg":
        return jpeg(pixels, int(number))
    if word == "mirrored":
        image = ImageOps.mirror(image)
    elif word == "smaller":
        image = image.resize((int(width * number), int(height * number)), bicubic)
    elif word == "turned":
        image = image.rotate(number, bicubic)
    elif word == "cropped":  # so much off each side, then enlarged
        cut = (width * number, height * number, width * (1 - number), height * (1 - number))
        image = image.resize(image.size, bicubic, box=cut)
    elif word == "shifted":
        image = image.transform(
            image.size, Image.Transform.AFFINE, (1, 0, width * number, 0, 1, height * number / 2)
        )
    elif word == "brighter":
        image = ImageEnhance.Brightness(image).enhance(number)
    elif word == "contrast":
        image = ImageEnhance.Contrast(image).enhance(number)
    elif word == "bordered":
        image = ImageOps.expand(image.resize((int(width * 0.9), int(height * 0.9)), bicubic), 8)
    else:
        image = _altered(image, word, number)
    return np.ascontiguousarray(image)


def _altered(image: Image.Image, word: str, number: float) -> Image.Image:
    width, height = image.size
    if word == "negative":
        return ImageOps.invert(image)
    if word == "equalised":
        return ImageOps.equalize(image)
    if word == "gamma":
        return image.point([round(255 * (level / 255) ** number) for level in range(256)])
    if word == "padded":  # with this gray level, a tenth more on each side
        return ImageOps.expand(image, (width // 10, height // 10), int(number))
    if word == "letterboxed":  # with this gray level to twice the width
        return ImageOps.expand(image, (width // 2, 0), int(number))
    raise ValueError(word)


KINDS = (
    "jpeg 40",
    "mirrored",
    "smaller 0.5",
    "brighter 0.8",
    "contrast 0.7",
    "cropped 0.08",
    "shifted 0.08",
    "bordered",
    "turned 6",
    "turned 90",
    "turned 143",
    "mirrored and jpeg 60",
    "mirrored and turned 25",
    "cropped 0.04 and turned -5 and brighter 1.1 and jpeg 70",
    "mirrored and cropped 0.05 and shifted 0.05 and contrast 0.85 and jpeg 75",
)

ALTERED = (
    "negative",
    "negative and gamma 0.6",
    "negative and gamma 1.7",
    "negative and mirrored",
    "negative and equalised",
    "equalised",
    "gamma 0.5",
    "gamma 2",
    "padded 255",
    "padded 128",
    "letterboxed 255",
    "letterboxed 0",
    "negative and padded 0",
    "negative and letterboxed 255",
)
