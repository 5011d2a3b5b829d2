"""The rendering of a synthetic knee: X-rays through it, as grayscale values.

Beer-Lambert along every ray, scatter and quantum noise on the detector, then the film's sigmoid
response to the logarithm of the dose. Bright is dense. How a radiograph is taken (view, field,
exposure, border, marker) is drawn without looking at the bone.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from knee.synthetic.anatomy import BoneQuality, Paths, Physique, paths
from knee.synthetic.outlines import Grid

# Effective linear attenuation at about 60 kV, per mm; marrow and trabeculae are apart.
MUSCLE_PER_MM = 0.0205
FAT_PER_MM = 0.0175
MARROW_PER_MM = 0.0180
CORTEX_PER_MM = 0.0540  # on top of marrow
TRABECULAE_PER_MM = 0.0190  # on top of marrow, healthy, densest
LEAD = 5.0  # attenuation of the marker, dimensionless
THINNEST_BONE_MM = 1.0  # along a ray, to count as bone in a mask

View = Literal["close-up", "whole-leg"]
Side = Literal["L", "R"]


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """Settings of one radiograph. Nothing here may depend on bone density."""

    view: View
    side: Side
    width: int  # px
    height: int  # px
    mm_per_pixel: float
    centre_mm: tuple[float, float]  # of the field in the knee's coordinates
    rotation_degrees: float
    level: float  # attenuation that becomes mid-gray
    latitude: float  # attenuation over which gray goes from 27 % to 50 %
    gamma: float
    scatter: float  # relative to the primary beam
    noise: float  # standard deviation of the dose behind mid-gray, relative
    margins: tuple[float, float, float, float]  # unexposed left, top, right, bottom: shares
    collimator_degrees: float
    bright_edge: bool  # a white line along the collimator's lower edge
    marker: tuple[float, float, float]  # across (from the lateral edge), down, height: shares
    marker_box: bool


def draw_acquisition(
    view: View, side: Side, size_pixels: int, body: Physique, random: np.random.Generator
) -> Acquisition:
    """Draw the settings of a radiograph; `size_pixels` is the longest side of a close-up."""
    uniform = random.uniform
    if view == "close-up":
        height = round(size_pixels * uniform(0.82, 1.0))
        width = round(height * uniform(0.78, 1.0))
        field_mm, across, down = uniform(145, 220), uniform(-11, 11), uniform(-20, 20)
    else:
        height = round(size_pixels * uniform(1.1, 1.35))
        width = round(height * uniform(0.42, 0.62))
        field_mm, across, down = uniform(330, 430), uniform(-14, 14), uniform(-40, 40)
    framed = random.random() < 0.55
    margins = tuple(float(m) for m in random.uniform(0.0, 0.11, 4) * framed)
    # The automatic exposure measures through the middle of the field: thick legs get more dose.
    level = 2.12 + 1.9 * (body.girth * body.size - 1)
    return Acquisition(
        view=view, side=side, width=width, height=height,
        mm_per_pixel=field_mm * body.size / height,
        centre_mm=(across, down),
        rotation_degrees=float(np.clip(random.normal(0, 3.5), -9, 9)),
        level=level + random.normal(0, 0.045),
        latitude=uniform(0.66, 0.77),
        gamma=uniform(0.94, 1.08),
        scatter=uniform(0.08, 0.25),
        noise=uniform(0.012, 0.04),
        margins=(margins[0], margins[1], margins[2], margins[3]),
        collimator_degrees=random.normal(0, 1.2) * framed,
        bright_edge=bool(framed and random.random() < 0.15),
        marker=(uniform(0.03, 0.12), uniform(0.05, 0.4), uniform(0.045, 0.075)),
        marker_box=bool(random.random() < 0.45),
    )  # fmt: skip


def expose(shot: Acquisition, body: Physique, bone: BoneQuality) -> Paths:
    """Return what the rays to each pixel cross, as for a left knee; nothing is random here."""
    return paths(*_rays(shot), body, bone)


def bone_mask(shot: Acquisition, crossed: Paths) -> NDArray[np.bool_]:
    """Return which pixels show bone, (height, width): exposed, not under the lead letter.

    `crossed` is what `expose` gives for the same settings.
    """
    inside = crossed.bone >= THINNEST_BONE_MM
    if shot.side == "R":
        inside = inside[:, ::-1]
    return np.asarray(inside & (_field(shot) > 0.5) & (_marker(shot) == 0))


def develop(
    shot: Acquisition, crossed: Paths, bone: BoneQuality, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return the radiograph as gray values, float32 (height, width), 0 (air) to 1 (densest).

    `crossed` is what `expose` gives for the same settings and bone; `random` draws texture and
    noise.
    """
    attenuation = _attenuation(crossed, shot, bone, random)
    if shot.side == "R":  # the patient faces the viewer: a right fibula lies on the left
        attenuation = attenuation[:, ::-1]
    inside = _field(shot)
    attenuation = np.where(_marker(shot) > 0, attenuation + LEAD * _marker(shot), attenuation)
    primary = np.exp(-attenuation) * inside
    dose = primary + shot.scatter * _blurred(primary, 24)
    grain = random.standard_normal(dose.shape, dtype=np.float32)
    grain = 0.7 * grain + 0.3 * (np.roll(grain, 1, 0) + np.roll(grain, 1, 1))
    dose += grain * shot.noise * np.sqrt(np.maximum(dose, 0) * np.exp(-shot.level))
    density = -np.log(np.clip(dose, 1e-4, None))
    gray = 1 / (1 + np.exp((shot.level - density) / shot.latitude))
    black = 1 / (1 + np.exp(shot.level / shot.latitude))  # what air gives
    gray = np.clip((gray - 0.75 * black) / (0.97 - 0.75 * black), 0, 1) ** shot.gamma
    gray = gray * inside + 0.008 * (1 - inside)
    if shot.bright_edge:
        gray = np.maximum(gray, 0.85 * _lower_edge(shot))
    return np.asarray(gray, dtype=np.float32)


def _rays(shot: Acquisition) -> tuple[Grid, Grid]:
    """Each pixel's x and y in the knee's coordinates, mm, as for a left knee."""
    across = (np.arange(shot.width, dtype=np.float32) - (shot.width - 1) / 2) * shot.mm_per_pixel
    down = (np.arange(shot.height, dtype=np.float32) - (shot.height - 1) / 2) * shot.mm_per_pixel
    angle = np.radians(shot.rotation_degrees)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = cosine * across[None, :] - sine * down[:, None] + np.float32(shot.centre_mm[0])
    y = sine * across[None, :] + cosine * down[:, None] + np.float32(shot.centre_mm[1])
    return x.astype(np.float32), y.astype(np.float32)


def _attenuation(
    crossed: Paths, shot: Acquisition, bone: BoneQuality, random: np.random.Generator
) -> Grid:
    """Total attenuation per ray, dimensionless."""
    trabeculae, mottle = _textures(shot, bone, random)
    soft = (MUSCLE_PER_MM * crossed.muscle) * (1 + 0.035 * mottle) + FAT_PER_MM * crossed.fat
    hard = MARROW_PER_MM * crossed.bone + CORTEX_PER_MM * crossed.cortex * (1 + 0.05 * trabeculae)
    pattern = np.clip(1 + bone.contrast * trabeculae, 0.05, None)
    spongy = TRABECULAE_PER_MM * bone.filling * crossed.core * pattern
    return np.asarray(soft + hard + spongy, dtype=np.float32)


def _textures(
    shot: Acquisition, bone: BoneQuality, random: np.random.Generator
) -> tuple[Grid, Grid]:
    """Trabeculae (mostly along the load) and muscle mottle: noise of mean 0 and deviation 1."""
    shape = (shot.height, shot.width)
    spectrum = np.fft.rfft2(random.standard_normal(shape, dtype=np.float32))
    fy = np.fft.fftfreq(shot.height, shot.mm_per_pixel)[:, None].astype(np.float32)
    fx = np.fft.rfftfreq(shot.width, shot.mm_per_pixel)[None, :].astype(np.float32)
    radius = np.sqrt(fx**2 + fy**2) + np.float32(1e-6)
    wanted = min(1 / bone.spacing_mm, 0.36 / shot.mm_per_pixel)
    band = np.exp(-0.5 * (np.log(radius / wanted) / 0.38) ** 2) / np.sqrt(radius)
    upright = (fx / radius) ** 2  # columns vary across, struts along
    oriented = band * (0.12 + upright**3 + 0.35 * (1 - upright) ** 4)
    broad = 1 / (1 + (radius / 0.02) ** 2) * (0.4 + upright)
    return _standardised(spectrum * oriented, shape), _standardised(spectrum * broad, shape)


def _standardised(spectrum: NDArray[np.complex64], shape: tuple[int, int]) -> Grid:
    texture = np.fft.irfft2(spectrum, shape)
    return np.asarray((texture - texture.mean()) / texture.std(), dtype=np.float32)


def _field(shot: Acquisition) -> Grid:
    """1 inside the collimated field, 0 outside, soft over about a pixel."""
    left, top, right, bottom = shot.margins
    if not any(shot.margins):
        return np.ones((shot.height, shot.width), dtype=np.float32)
    u, v = _collimated(shot)
    sides = (
        u - left * shot.width, (1 - right) * shot.width - u,
        v - top * shot.height, (1 - bottom) * shot.height - v,
    )  # fmt: skip
    return np.asarray(np.clip(np.minimum.reduce(sides) + 0.5, 0, 1), dtype=np.float32)


def _lower_edge(shot: Acquisition) -> Grid:
    _, v = _collimated(shot)
    distance = np.abs(v - (1 - shot.margins[3]) * shot.height)
    return np.asarray(np.clip(1.6 - distance, 0, 1), dtype=np.float32)


def _collimated(shot: Acquisition) -> tuple[Grid, Grid]:
    """Pixel coordinates turned by the collimator's angle around the centre."""
    tangent = np.float32(np.tan(np.radians(shot.collimator_degrees)))
    columns = np.arange(shot.width, dtype=np.float32)[None, :] + np.float32(0.5)
    rows = np.arange(shot.height, dtype=np.float32)[:, None] + np.float32(0.5)
    return columns + tangent * (rows - shot.height / 2), rows - tangent * (columns - shot.width / 2)


def _marker(shot: Acquisition) -> Grid:
    """Coverage 0-1 of the lead letter at the lateral side of the field, readable as it lies."""
    across, down, size = shot.marker
    left, top, right, bottom = shot.margins
    height = max(9, round(size * shot.height))
    canvas = Image.new("L", (shot.width, shot.height), 0)
    draw = ImageDraw.Draw(canvas)
    lateral = left + across if shot.side == "R" else 1 - right - across
    half = 0.62 * height
    low, high = left * shot.width + half + 2, (1 - right) * shot.width - half - 2
    middle = (
        float(np.clip(lateral * shot.width, low, max(low, high))),
        (top + down * (1 - top - bottom)) * shot.height + height,
    )
    font, stroke_pixels = ImageFont.load_default(size=height), max(1, height // 18)
    draw.text(middle, shot.side, 255, font, "mm", stroke_width=stroke_pixels)
    if shot.marker_box:
        corners = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
        draw.rectangle(corners, outline=200)
    return np.asarray(canvas, dtype=np.float32) / 255


def _blurred(image: Grid, factor: int) -> Grid:
    """A wide blur: reduced by `factor` with a box, enlarged smoothly."""
    height, width = image.shape
    small = Image.fromarray(image).resize(
        (max(2, width // factor), max(2, height // factor)), Image.Resampling.BOX
    )
    wide = small.resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(wide, dtype=np.float32), 0, None)
