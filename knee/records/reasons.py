"""Why source files are not used, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from knee.records.records_table import REJECTED, USED

NAMED: Final = 3  # of them, a reason, in its table


@dataclass(frozen=True)
class Reason:
    """Why files were set aside: how many, and the first of them."""

    status: str
    reason: str
    count: int
    examples: tuple[str, ...]


def reasons(records: pd.DataFrame) -> list[Reason]:
    """Why files are not used: rejected ones first, then the most frequent reason."""
    aside = records[records["status"] != USED]
    grouped = [
        Reason(str(status), str(reason), len(part), tuple(part["source"].head(NAMED)))
        for (status, reason), part in aside.groupby(["status", "reason"], sort=True)
    ]
    return sorted(grouped, key=lambda one: (one.status != REJECTED, -one.count, one.reason))
