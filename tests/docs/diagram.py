"""Writes docs/diagram.svg, how a push goes round, in light and dark: `python -m tests.docs.diagram`."""

from pathlib import Path
from xml.sax.saxutils import escape

FILE = Path(__file__).parents[2] / "docs" / "diagram.svg"
WIDTH, HEIGHT = 860, 330

STYLE = """
  text { font: 14px system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .small { font-size: 12.5px; fill: #59636e }
  .room { fill: #f6f8fa; stroke: #d1d9e0 }
  .base { fill: #d1d9e0 }
  .new { fill: #1f5fc4 }
  .on-new { fill: #ffffff }
  .arrow { stroke: #1f5fc4; stroke-width: 2; fill: none }
  .head { fill: #1f5fc4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .room { fill: #151b23; stroke: #3d444d }
    .base { fill: #3d444d }
    .new, .head { fill: #78a9f5 }
    .on-new { fill: #0d1117 }
    .arrow { stroke: #78a9f5 }
  }
"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{kind}"/>'


def layer(x: float, y: float, width: float, words: str, new: bool) -> str:
    """One step of a stack; what a push brings or makes is in colour."""
    label = text(x + width / 2, y + 21, words, "on-new" if new else "")
    return box(x, y, width, 32, "new" if new else "base") + label


def arrow(x: float, y: float, to: float) -> str:
    """A level arrow from `x` to `to`."""
    tip = 9 if to > x else -9
    return (
        f'<path d="M{x} {y} H{to - tip}" class="arrow"/><path d="M{to} {y} l{-tip} -5 v10 z" class="head"/>'
    )


def draw() -> str:
    """The picture as SVG."""
    phone, cloud, width = 20, 560, 280
    parts = [
        box(phone, 20, width, 290, "room"),
        text(phone + width / 2, 50, "Phone", "title"),
        layer(phone + 30, 70, width - 60, "base layers: constant", new=False),
        layer(phone + 30, 108, width - 60, "a few layers: swappable", new=True),
        text(phone + width / 2, 172, "1  verify signature, device, version"),
        text(phone + width / 2, 198, "2  self-test on its own runtime"),
        text(phone + width / 2, 224, "3  swap atomically, or refuse by name"),
        text(phone + width / 2, 262, "inference never stops, online or not", "small"),
        text(phone + width / 2, 282, "no training, no new model file", "small"),
        box(cloud, 20, width, 290, "room"),
        text(cloud + width / 2, 50, "Cloud", "title"),
        layer(cloud + 30, 70, width - 60, "context encoder", new=False),
        layer(cloud + 30, 108, width - 60, "MetaStabilizer", new=False),
        layer(cloud + 30, 146, width - 60, "MetaGenerator", new=True),
        text(cloud + width / 2, 208, "one forward pass, milliseconds"),
        text(cloud + width / 2, 234, "signs the pack for one phone"),
        text(cloud + width / 2, 262, "or takes weights that you made,", "small"),
        text(cloud + width / 2, 282, "or a trend of everybody's data", "small"),
        text(430, 76, "a few unlabelled samples"),
        arrow(phone + width + 12, 90, cloud - 12),
        text(430, 196, "a signed weight pack"),
        text(430, 234, "kilobytes", "small"),
        arrow(cloud - 12, 210, phone + width + 12),
    ]
    lines = "\n".join(parts)
    title = "A phone sends a few unlabelled samples; the cloud answers with a signed pack of weights"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">\n'
        f"<style>{STYLE}</style>\n{lines}\n</svg>\n"
    )


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
