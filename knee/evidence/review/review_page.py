"""The page on which a person decides about doubtful labels, and saves the decisions.

It names files and stays on this machine. It loads nothing; its one script is allowed by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from knee.drawing.html import environment, render
from knee.evidence.review.cards import Section
from knee.intake.label_decisions import COLUMNS
from knee.storage.artifacts import FORMULA

LONGEST_NAME: Final = 120  # letters; of a longer name the end is shown
NUMBERED: Final = 9  # classes that have a key of their own
SCRIPT: Final = "evidence/review/review.js.j2"


def page(
    sections: Sequence[Section], classes: Sequence[str], names: Mapping[int, str], **facts: Any
) -> str:
    """Return the page as HTML.

    Args:
        sections: with the cards.
        classes: of the scale, in order.
        names: of the files, by record.
        facts: data_set, digest (of the data, the key of what the browser keeps), models (names),
            predicted (records with out-of-fold predictions), left_out (thumbnails), synthetic.
    """
    script = environment().get_template(SCRIPT).render(formula=FORMULA, columns=COLUMNS)
    code = Markup(script)  # noqa: S704  # nosec B704  # of this folder; its values are JSON
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    source = Markup(f"; script-src 'sha256-{digest}'")  # noqa: S704  # nosec B704
    return render(
        "evidence/review/review.html.j2",
        **facts,
        home="index.html",
        script=code,
        script_source=source,
        sections=sections,
        classes=classes,
        numbered=NUMBERED,
        names={record: _shortened(name) for record, name in names.items()},
    )


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"
