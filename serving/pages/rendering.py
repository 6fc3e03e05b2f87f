"""Templates and the files that go with them, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import jinja2

from serving.pages.words import instant_text, percent_text, shown, signed_points

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file a page loads; its address names its content, so a browser may keep it."""

    content: bytes
    media_type: str
    address: str


def static_files() -> Mapping[str, StaticFile]:
    """Return the files under `static/` by name."""
    return MappingProxyType(
        {path.name: _static_file(path) for path in sorted((_HERE / "static").iterdir())}
    )


def _static_file(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return StaticFile(content, _TYPES[path.suffix], f"/static/{path.name}?v={digest}")


def page_environment(static: Mapping[str, StaticFile]) -> jinja2.Environment:
    """Return the templates: all output is escaped, an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    environment.filters |= {
        "shown": shown,
        "percent": percent_text,
        "points": signed_points,
        "instant": instant_text,
    }
    environment.globals["static"] = {name: file.address for name, file in static.items()}
    return environment
