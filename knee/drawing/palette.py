"""Colours of charts, contact sheets and pages, told apart with every kind of colour vision."""

from __future__ import annotations

from typing import Final

# Okabe and Ito's palette, https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILION, SKY_BLUE, BLACK, YELLOW = "#D55E00", "#56B4E9", "#000000", "#F0E442"
OKABE_ITO: Final = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY_BLUE, BLACK, YELLOW)
GRAY: Final = "#777777"

# The same hues in the same order, dark enough for text on a light page and light enough on a dark.
ON_LIGHT: Final = (BLUE, "#D98200", "#008a64", "#b8548f", VERMILION, "#2f86b8", "#444", "#8d7f00")
ON_DARK: Final = (SKY_BLUE, ORANGE, "#2fbf93", "#e08fbd", "#ff8a4c", "#8fd0f5", "#c8c8c8", YELLOW)
