"""Geometry of a synthetic frontal knee: how many millimetres of what each ray crosses.

Coordinates are millimetres: x grows laterally (towards the fibula), y grows distally (towards the
foot), and the middle of the joint space is the origin. Bones are stacks of flattened ellipses along
y: a shell of cortex around a core of marrow and trabeculae, closed at the joint by a curved plate.
Bone quality follows the T-score; every other trait is drawn without looking at it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from knee.synthetic import outlines
from knee.synthetic.outlines import Grid


@dataclasses.dataclass(frozen=True)
class BoneQuality:
    """Traits that follow bone mineral density."""

    cortex_mm: float  # shell of the femur in mid-shaft
    mineral: float  # attenuation of cortex relative to healthy bone, about 0.8-1.1
    filling: float  # trabecular attenuation of the core relative to healthy bone, about 0.2-1.2
    spacing_mm: float  # between the trabeculae that remain visible
    contrast: float  # standard deviation of the trabecular pattern relative to its mean


@dataclasses.dataclass(frozen=True)
class Physique:
    """Traits that are independent of bone density; factors are relative to the average."""

    size: float
    shaft: float  # width of the shafts
    flare: float  # width of the condyles and the plateau
    joint_space_mm: float  # added to the average of about 5 mm
    valgus: float  # lateral mm of the femur's shaft per mm above the joint
    bow: float  # lateral mm of the tibia's shaft per mm below the joint
    girth: float  # width and depth of the soft tissue
    fat_mm: float  # under the skin
    muscle: float  # bulge of the calf, mm
    patella: tuple[float, float, float]  # centre x and y in mm, size factor
    fibula_mm: float  # lateral shift by rotation of the leg
    notch: float  # depth of the intercondylar notch
    scar_mm: float  # equivalent cortex of the closed growth plates


@dataclasses.dataclass(frozen=True)
class Paths:
    """Lengths in mm that rays cross, each of the grid's shape."""

    muscle: Grid
    fat: Grid
    cortex: Grid
    core: Grid  # weighted by trabecular filling, texture not applied
    bone: Grid  # all tissue inside bones, which displaces muscle


def bone_quality(t_score: float, random: np.random.Generator) -> BoneQuality:
    """Draw the bone of a T-score (standard deviations from the young mean, about -5 to 2)."""
    health = float(np.clip((t_score + 4.6) / 5.2, 0.0, 1.25))  # 1 at T = 0.6
    cortex, mineral, filling, spacing = random.normal(1.0, (0.04, 0.012, 0.045, 0.06)).tolist()
    return BoneQuality(
        cortex_mm=(0.9 + 5.4 * health) * cortex,
        mineral=(0.80 + 0.22 * health) * mineral,
        filling=(0.06 + 1.02 * health) * filling,
        spacing_mm=(4.2 - 2.4 * min(health, 1.0)) * spacing,
        contrast=0.40 - 0.30 * min(health, 1.0),
    )


def physique(random: np.random.Generator) -> Physique:
    """Draw the traits that are independent of density."""
    size = random.normal(1.0, 0.055)
    uniform = random.uniform
    return Physique(
        size=float(np.clip(size, 0.87, 1.14)),
        shaft=uniform(0.93, 1.1),
        flare=uniform(0.94, 1.06),
        joint_space_mm=uniform(-1.6, 1.4),
        valgus=uniform(0.03, 0.14),
        bow=uniform(-0.04, 0.05),
        girth=uniform(0.88, 1.2),
        fat_mm=uniform(4, 13),
        muscle=uniform(-3, 10),
        patella=(uniform(-4, 7), uniform(-42, -24), uniform(0.9, 1.08)),
        fibula_mm=uniform(-5, 5),
        notch=uniform(0.6, 1.15),
        scar_mm=uniform(0.0, 1.0),
    )


def paths(x: Grid, y: Grid, body: Physique, bone: BoneQuality) -> Paths:
    """Return the line integrals through a knee for rays at x, y (mm, float32, one shape)."""
    x, y = x / np.float32(body.size), y / np.float32(body.size)
    parts = [draw(x, y, body, bone) for draw in (_femur, _tibia, _fibula, _patella)]
    cortex = sum((part[0] for part in parts[1:]), parts[0][0])
    filled = sum((part[1] for part in parts[1:]), parts[0][1])
    inside = sum((part[0] + part[2] for part in parts[1:]), parts[0][0] + parts[0][2])
    whole, lean = _soft_tissue(x, y, body)
    muscle = np.maximum(lean - inside, 0)
    scale = np.float32(body.size)
    return Paths(muscle * scale, (whole - lean) * scale, cortex * scale, filled * scale,
                 inside * scale)  # fmt: skip


def _femur(x: Grid, y: Grid, body: Physique, bone: BoneQuality) -> tuple[Grid, Grid, Grid]:
    """Cortex, trabecular filling and whole core of the femur, mm."""
    end = outlines.look_up(outlines.FEMUR_END, x)
    end = np.where(np.abs(x) < 14, -2.6 + (end + 2.6) * body.notch, end) - body.joint_space_mm / 2
    lateral = outlines.look_up(outlines.FEMUR_LATERAL, y)
    medial = outlines.look_up(outlines.FEMUR_MEDIAL, y)
    width = _blend(y, body, above=True)
    lean = np.float32(body.valgus) * np.maximum(-y - 25, 0)
    centre = (lateral - medial) / 2 * width + lean
    half = (lateral + medial) / 2 * width
    dome = np.sqrt(((x - 1) / 11) ** 2 + ((y + 6) / 19) ** 2)  # notch between the condyles, behind
    hollow = 0.3 / (1 + np.exp(np.minimum(dome - 1, 4) * 14))
    depth = outlines.look_up(outlines.FEMUR_DEPTH, y) * (1 - hollow)
    shell, core, inside = _long_bone(x - centre, half, depth, end - y, y, bone, 1.0)
    ridge = 0.8 * np.exp(-(((dome - 1) / 0.07) ** 2)) * (y < -8)
    scar = body.scar_mm * np.exp(-(((y + 27 + 4 * np.cos(x / 9)) / 1.1) ** 2))
    return shell + (ridge + scar) * bone.mineral * (inside > 12), core, inside


def _tibia(x: Grid, y: Grid, body: Physique, bone: BoneQuality) -> tuple[Grid, Grid, Grid]:
    """Cortex, trabecular filling and whole core of the tibia, mm."""
    end = outlines.look_up(outlines.TIBIA_END, x, 1.2) + np.float32(body.joint_space_mm / 2)
    lateral = outlines.look_up(outlines.TIBIA_LATERAL, y)
    medial = outlines.look_up(outlines.TIBIA_MEDIAL, y)
    width = _blend(y, body, above=False)
    bend = np.float32(body.bow) * np.maximum(y - 30, 0) - 1.5
    centre = (lateral - medial) / 2 * width + bend
    half = (lateral + medial) / 2 * width
    depth = outlines.look_up(outlines.TIBIA_DEPTH, y)
    shell, core, inside = _long_bone(x - centre, half, depth, y - end, y, bone, 1.5)
    # The rim of the plateau at the back projects as a second line below the first.
    rim = np.exp(-(((y - end - 4.5 - 0.04 * np.abs(x)) / 1.2) ** 2)) * (np.abs(x) > 8)
    scar = 0.7 * body.scar_mm * np.exp(-(((y - 19 - 3 * np.cos(x / 11)) / 1.2) ** 2))
    return shell + (0.9 * rim + scar) * bone.mineral * (inside > 8), core, inside


def _fibula(x: Grid, y: Grid, body: Physique, bone: BoneQuality) -> tuple[Grid, Grid, Grid]:
    """Cortex, trabecular filling and whole core of the fibula, mm."""
    shifted = x - np.float32(body.fibula_mm)
    end = outlines.look_up(outlines.FIBULA_END, shifted, 1.5)
    bend = np.float32(body.bow) * np.maximum(y - 30, 0)
    centre = outlines.look_up(outlines.FIBULA_CENTRE, y) + bend
    half = outlines.look_up(outlines.FIBULA_HALF, y) * np.float32(body.shaft)
    slim = dataclasses.replace(bone, cortex_mm=bone.cortex_mm * 0.52)
    return _long_bone(shifted - centre, half, half * 0.95, y - end, y, slim, 1.0, radius_mm=7.0)


def _patella(x: Grid, y: Grid, body: Physique, bone: BoneQuality) -> tuple[Grid, Grid, Grid]:
    """Cortex, trabecular filling and whole core of the patella, an egg in front of the femur."""
    centre_x, centre_y, size = body.patella
    radius_mm = np.float32(22 * size)
    v = np.clip((y - np.float32(centre_y)) / radius_mm, -3, 3)
    u = (x - np.float32(centre_x + 12 * body.valgus)) / (radius_mm * (1 - 0.16 * v))
    radius = np.sqrt(np.abs(u) ** 2.4 + np.abs(v) ** 2.4)
    shell = np.float32(0.05 + 0.012 * bone.cortex_mm)
    outer = 20 * np.sqrt(np.clip(1 - radius**2, 0, None))
    inside = 20 * (1 - shell) * np.sqrt(np.clip(1 - (radius / (1 - shell)) ** 2, 0, None))
    return (outer - inside) * np.float32(0.55 * bone.mineral), inside * np.float32(0.8), inside


def _soft_tissue(x: Grid, y: Grid, body: Physique) -> tuple[Grid, Grid]:
    """Depth of all soft tissue and of its lean part under the fat, mm."""
    bulge = np.float32(body.muscle) * np.exp(-(((y - 125) / 55) ** 2))
    lateral = outlines.look_up(outlines.SKIN_LATERAL, y, 12) + bulge * 0.7
    medial = outlines.look_up(outlines.SKIN_MEDIAL, y, 12) + bulge
    lean = np.float32(body.valgus) * np.maximum(-y - 25, 0)
    lean += np.float32(body.bow) * np.maximum(y - 30, 0)
    centre = (lateral - medial) / 2 + lean
    half = (lateral + medial) / 2 * np.float32(body.girth)
    depth = (outlines.look_up(outlines.SKIN_DEPTH, y, 12) + bulge) * np.float32(body.girth)
    fat = np.float32(body.fat_mm)
    whole = 2 * depth * _section((x - centre) / half, 2.6)
    inner = 2 * (depth - fat) * _section((x - centre) / (half - fat), 2.6)
    return whole, np.minimum(inner, whole)


def _long_bone(
    offset: Grid, half: Grid, depth: Grid, below_end: Grid, y: Grid,
    bone: BoneQuality, plate: float, radius_mm: float = 11.0,
) -> tuple[Grid, Grid, Grid]:  # fmt: skip
    """Cortex, filled core and whole core of a bone of elliptic sections with a rounded end.

    `offset` is the distance from the axis, `below_end` the depth under the joint surface, mm.
    """
    shell = np.float32(bone.cortex_mm) * outlines.look_up(outlines.CORTEX_SHARE, y)
    shell = np.minimum(shell, 0.8 * half)
    plate_mm = np.float32(plate * (0.5 + 0.22 * bone.cortex_mm))
    power = 2.0 + np.clip((half - 18) / 14, 0, 1.3)  # condyles are boxier than shafts
    outer = 2 * depth * _section(offset / half, power) * _cap(below_end, radius_mm)
    inner = 2 * (depth - shell) * _section(offset / (half - shell), power)
    inner = np.minimum(inner * _cap(below_end - plate_mm, radius_mm), outer)
    filled = inner * outlines.look_up(outlines.FILLING, y)
    return (outer - inner) * np.float32(bone.mineral), filled, inner


def _section(offset: Grid, power: Grid | float) -> Grid:
    """Relative depth of a flattened ellipse at the relative distance `offset` from its axis."""
    return np.sqrt(np.clip(1 - np.abs(offset) ** power, 0, None))


def _cap(below_end: Grid, radius_mm: float) -> Grid:
    """Relative depth of a rounded end: 0 outside, 1 from `radius_mm` inwards."""
    missing = 1 - np.clip(below_end / np.float32(radius_mm), 0, 1)
    return np.asarray(np.sqrt(1 - missing * missing))


def _blend(y: Grid, body: Physique, *, above: bool) -> Grid:
    """Width factor along the bone: `flare` at the joint, `shaft` beyond 75 mm from it."""
    axis = outlines.axis()
    share = np.clip(((-axis if above else axis) - 35) / 40, 0, 1)
    return (body.flare + (body.shaft - body.flare) * share).astype(np.float32)[outlines.index(y)]
