"""The class of a T-score, the bone density in standard deviations from that of young adults."""

from __future__ import annotations

from collections.abc import Sequence


def who_class(t_score: float, classes: Sequence[str]) -> str:
    """Return which of three `classes` has this T-score.

    Normal from -1.0 up, osteoporosis from -2.5 down, osteopenia between. Source: WHO Technical
    Report Series 843 (1994).
    """
    return classes[0 if t_score >= -1.0 else 2 if t_score <= -2.5 else 1]
