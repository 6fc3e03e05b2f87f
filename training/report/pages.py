"""Self-contained HTML pages from the templates of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.outputs import written_aside

if TYPE_CHECKING:
    import jinja2


def write_page(template: str, content: Mapping[str, Any], page: Path) -> Path:
    """Write `template` filled with `content` to `page`, aside and then renamed; return its path."""
    html = _environment().get_template(template).render(**content)
    page.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(page) as aside:
        aside.write_text(html, encoding="utf-8")
    return page


@cache
def _environment() -> jinja2.Environment:
    """Return the one environment of this process: it compiles a template once."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
