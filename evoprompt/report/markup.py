"""The few pieces of HTML that pages are made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from evoprompt.errors import printable

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:60rem;margin:2rem auto;
  padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}
h2{font-size:1.15rem;margin:2.2rem 0 .4rem}
.muted{color:#666}
pre{background:#f5f6f8;padding:.8rem 1rem;white-space:pre-wrap;border-radius:6px;font-size:13px}
table{border-collapse:collapse}
td,th{text-align:left;padding:.25rem .9rem .25rem 0;
  border-bottom:1px solid #e3e5e8;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.row{display:flex;flex-wrap:wrap;gap:.5rem}
svg{max-width:100%;height:auto}
.big{font-size:1.25rem;font-weight:600} .wide{overflow-x:auto;font-size:13px}
"""


def page(title: str, sections: Sequence[str]) -> str:
    """Return a whole page that needs nothing else, and in which every character can be seen."""
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>evoprompt: '
        f"{escape(title)}</title><style>{STYLE}</style>"
    )
    return printable(f"{head}{''.join(sections)}</html>\n")


def section(title: str, body: str, note: str = "") -> str:
    """Return a titled section."""
    return (
        f"<h2>{escape(title)}</h2>"
        + (f'<p class="muted">{escape(note)}</p>' if note else "")
        + body
    )


def preformatted(text: str) -> str:
    """Return text as it is."""
    return f"<pre>{escape(text)}</pre>"
