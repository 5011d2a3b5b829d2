"""Reports for people: one Jinja environment, and templates beside the modules that fill them.

Each report extends `drawing/base.html.j2`, whose Content-Security-Policy lets it load and run
nothing. All values are escaped: names of files and classes are untrusted text.
"""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING, Any

from knee.drawing import palette

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Return the text of a template.

    Args:
        template: its path below `knee`, such as "audit/audit_report.html.j2".
        **values: what the template names.

    Raises:
        jinja2.UndefinedError: the template names a value that is not there.
    """
    return environment().get_template(template).render(values)


@functools.cache
def environment() -> Environment:
    """Return the environment of all templates, with the filters that write figures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("knee", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    made.filters |= {
        "decimal": lambda value: "-" if value is None else f"{value:.3f}",
        "percent": percent,
        "place": _place,
        "thousands": lambda value: f"{value:,}",
        "p": p_value,
        "words": lambda name: str(name).replace("_", " "),
    }
    made.globals |= {"on_light": palette.ON_LIGHT, "on_dark": palette.ON_DARK}
    return made


def data_uri(content: bytes, media_type: str) -> str:
    """Return a file's content as the address of an image on a page that loads nothing."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def percent(value: float | None) -> str:
    """Write a share, 0-1, as a percentage with one decimal; "-" if it is not defined."""
    if value is None:
        return "-"
    text = "0" if value == 0 else f"{100 * value:.1f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def p_value(value: float | None) -> str:
    """Write a p-value: never as nought; "-" if it is not defined."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _place(value: float | None) -> float:
    """Return a share, 0-1, as a length in per cent for a style; 0 if it is not defined."""
    return round(100 * min(max(value or 0.0, 0.0), 1.0), 2)
