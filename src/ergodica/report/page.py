"""A self-contained HTML page: text, tables and pictures in one file that can be mailed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ergodica.pictures import plot_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Section", "render_page"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1b2430; }
h1 { font-size: 1.7rem; border-bottom: 2px solid #2a6f97; padding-bottom: .3rem; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; }
td, th { padding: .25rem .9rem; border-bottom: 1px solid #d6dee6; text-align: left; }
img { max-width: 100%; } code { background: #eef3f7; padding: .1rem .3rem; border-radius: 3px; }
"""


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: heading.
        text: a paragraph.
        table: rows of label and value.
        figures: matplotlib figures.
        command: what reproduces the section on the command line.
    """

    title: str
    text: str = ""
    table: Mapping[str, str] | None = None
    figures: Sequence[Figure] = ()
    command: str = ""


def render_page(title: str, sections: Sequence[Section]) -> bytes:
    """The page as UTF-8 HTML; pictures are embedded, nothing is loaded from elsewhere."""
    body = "\n".join(_section(section) for section in sections)
    head = f"<meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    page = f"<!doctype html><html lang='en'><head>{head}</head><body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    return page.encode()


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    if section.command:
        parts.append(f"<p><code>{escape(section.command)}</code></p>")
    if section.table:
        rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in section.table.items())
        parts.append(f"<table>{rows}</table>")
    for figure in section.figures:
        picture = base64.b64encode(plot_bytes(figure)).decode()
        parts.append(f"<p><img alt='{escape(section.title)}' src='data:image/png;base64,{picture}'></p>")
    return "\n".join(parts)
