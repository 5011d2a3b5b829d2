"""The reasons why source files are not used, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from knee.records.records_table import REJECTED, USED

NAMED: Final = 3  # of them, a reason, in its table


@dataclass(frozen=True)
class Reason:
    """A reason why files are not used, their number, and the first of them."""

    status: str
    reason: str
    count: int
    examples: tuple[str, ...]


def reasons(records: pd.DataFrame) -> list[Reason]:
    """Return the reasons why files are not used: of rejected files first, then by frequency."""
    aside = records[records["status"] != USED]
    grouped = [
        Reason(str(status), str(reason), len(part), tuple(part["source"].head(NAMED)))
        for (status, reason), part in aside.groupby(["status", "reason"], sort=True)
    ]
    return sorted(grouped, key=lambda one: (one.status != REJECTED, -one.count, one.reason))
