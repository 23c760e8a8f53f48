"""Pages that need nothing else: no network, no files beside them; light or dark as the reader has it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

STYLE = """
:root { color-scheme: light dark; --c0: #2a6f97; --c1: #c1121f; --c2: #588157; --c3: #8a5a00; --dim: #666; }
@media (prefers-color-scheme: dark) {
  :root { --c0: #6fb7dd; --c1: #ff7b7b; --c2: #93c48b; --c3: #e0b050; --dim: #a5a5a5; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
th { border-bottom: 1px solid #999; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; }
img { max-width: 27rem; image-rendering: pixelated; }
img.wide { max-width: 100%; }
figcaption, .dim { color: var(--dim); font-size: 90%; }
.bar { background: var(--c0); height: .7rem; }
.bar.real { background: #bbb; }
.verdict { border-left: .4rem solid var(--c0); padding: .2rem 1rem; margin: 1rem 0; }
.verdict.good { border-color: var(--c2); }
.verdict.bad { border-color: var(--c1); }
svg { vertical-align: top; max-width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: currentColor; }
svg .grid { stroke: currentColor; stroke-opacity: .13; }
svg .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
"""


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page.

    Arguments:
        title: in plain words.
        parts: what is on it, in HTML.
    """
    body = "\n".join(part for part in parts if part)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table.

    Arguments:
        head: what the columns are called, in plain words; none for no head.
        rows: as many plain words each.
        right: the places of the columns that are set right, as numbers are.
    """
    lines = ["".join(f"<th>{escape(word)}</th>" for word in head)] if head else []
    for row in rows:
        cells = enumerate(row)
        lines.append("".join(f"<td{' class=n' * (k in right)}>{escape(w)}</td>" for k, w in cells))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def picture_figure(image: Image.Image, words: str) -> str:
    """A picture within the page, with words below.

    Arguments:
        image: the picture.
        words: what it shows.
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return png_figure(buffer.getvalue(), words)


def png_figure(png: bytes, words: str, *, wide: bool = False) -> str:
    """The same of a file that is there.

    Arguments:
        png: what is in the file.
        words: what it shows.
        wide: it may take the whole width.
    """
    data = base64.b64encode(png).decode()
    return (
        f"<figure><img{' class=wide' * wide} alt='{escape(words)}' "
        f"src='data:image/png;base64,{data}'><figcaption>{escape(words)}</figcaption></figure>"
    )
