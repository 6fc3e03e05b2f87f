"""Self-contained HTML pages from the templates of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.outputs import written_aside


def write_page(template: str, content: Mapping[str, Any], page: Path) -> Path:
    """Write `template` filled with `content` to `page`, aside and then renamed; return its path."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template(template).render(**content)
    page.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(page) as aside:
        aside.write_text(html, encoding="utf-8")
    return page
