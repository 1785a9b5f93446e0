"""The few pieces of HTML that pages are made of."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape

from evoprompt.errors import printable

STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--quiet:#5c5f66;--paper:#fff;--box:#f5f6f8;
  --line:#dfe2e6;--link:#0057a3;--new:#d7f2df;--gone:#fbdcdc;--good:#0a6b2d;--bad:#a11919}
@media (prefers-color-scheme:dark){:root{--ink:#e7e8ea;--quiet:#a3a7ae;--paper:#15171a;
  --box:#202327;--line:#3a3e44;--link:#7fbcff;--new:#1d4a2c;--gone:#5a2426;--good:#6fd391;
  --bad:#ff9b9b}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;
  margin:2rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{font-size:1.6rem;margin-bottom:.2rem}
h2{font-size:1.2rem;margin:2.2rem 0 .4rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
a{color:var(--link)} nav a{margin-right:.9rem;white-space:nowrap}
.muted{color:var(--quiet)} .good{color:var(--good)} .bad{color:var(--bad)}
pre{background:var(--box);padding:.8rem 1rem;white-space:pre-wrap;overflow-wrap:anywhere;
  border-radius:6px;font-size:13px;margin:.3rem 0}
table{border-collapse:collapse;margin-bottom:.7rem}
td,th{text-align:left;padding:.25rem .9rem .25rem 0;
  border-bottom:1px solid var(--line);vertical-align:baseline}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.row{display:flex;flex-wrap:wrap;gap:.5rem}
svg{max-width:100%;height:auto;fill:currentColor}
@media (max-width:45rem){svg{max-width:none}}
.big{font-size:1.25rem;font-weight:600} .wide{overflow-x:auto;font-size:13px}
ins{background:var(--new);text-decoration:none} del{background:var(--gone)}
abbr{text-decoration:underline dotted;cursor:help} summary{cursor:pointer;margin:.4rem 0}
dt{font-weight:600;margin-top:.6rem} dd{margin:0 0 0 1rem}
button{font:inherit;font-size:13px;color:var(--ink);background:var(--box);
  border:1px solid var(--line);border-radius:6px;padding:.15rem .7rem;cursor:pointer}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem} .skip:focus{left:1rem}
"""

#: A figure, which can be moved sideways where the page is narrower.
_FIGURE = re.compile("(<svg.*?</svg>)", re.S)

#: A space at which a line does not break.
FIXED = "\N{NO-BREAK SPACE}"

#: Copies the text of what a button names; where the browser has no clipboard it is selected.
SCRIPT = """
document.addEventListener("click", function (event) {
  var button = event.target.closest("button[data-copy]");
  if (!button) { return; }
  var text = document.getElementById(button.dataset.copy);
  function select() {
    var range = document.createRange();
    range.selectNodeContents(text);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = document.execCommand("copy") ? "copied" : "press Ctrl-C";
  }
  function said() { button.textContent = "copied"; }
  if (navigator.clipboard) { navigator.clipboard.writeText(text.textContent).then(said, select); }
  else { select(); }
});
"""


def page(title: str, sections: Sequence[str]) -> str:
    """Return a whole page that needs nothing else, and in which every character can be seen. No
    script runs in it but the one that copies, and nothing is fetched.
    """
    digest = b64encode(sha256(SCRIPT.encode()).digest()).decode()
    allowed = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'"
    )
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>evoprompt: {escape(title)}</title><style>{STYLE}</style></head>"
    )
    skip = '<a class="skip" href="#main">to the content</a>'
    shown = _FIGURE.sub(r'<div class="wide" tabindex="0">\1</div>', "".join(sections))
    body = f'{skip}<main id="main">{shown}</main>'
    return printable(f"{head}<body>{body}") + f"<script>{SCRIPT}</script></body></html>\n"


def section(title: str, body: str, note: str = "") -> str:
    """Return a titled section."""
    name = anchor(title)
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>'
        + (f'<p class="muted">{escape(note)}</p>' if note else "")
        + f"{body}</section>"
    )


def contents(titles: Sequence[str]) -> str:
    """Return links to sections of a page."""
    links = (f'<a href="#{anchor(title)}">{escape(title)}</a>' for title in titles)
    return f'<nav aria-label="sections">{" ".join(links)}</nav>'


def anchor(title: str) -> str:
    """Return by what a section is linked."""
    return re.sub(r"\W+", "-", title.lower(), flags=re.ASCII).strip("-") or "section"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text, of a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Return text as it is."""
    return f"<pre>{escape(text)}</pre>"


def copyable(text: str, name: str, what: str) -> str:
    """Return text as it is, with a button that copies it.

    Args:
        text: to be copied.
        name: by which the page knows it, of letters and `-`.
        what: it is, for the button.
    """
    button = f'<button type="button" data-copy="{name}">copy {escape(what)}</button>'
    return f'{button}<pre id="{name}">{escape(text)}</pre>'


def folded(title: str, body: str) -> str:
    """Return what is shown when its title is chosen."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def glossary(terms: Mapping[str, str]) -> str:
    """Return a list of terms, each with what it means."""
    rows = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms.items())
    return f"<dl>{''.join(rows)}</dl>"
