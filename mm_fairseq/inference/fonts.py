"""Fonts for pictures: what is installed, and what it cannot draw; and who draws."""

import threading
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

BOX = "\u25a1"
drawing = threading.Lock()  # held by who draws: matplotlib is not made for threads, its settings are the process's
# By script, the usual ones of Linux, macOS and Windows; DejaVu comes with matplotlib.
_WANTED = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans KR"),
    *("Noto Sans JP", "Noto Sans SC", "NanumGothic", "UnDotum", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("IPAexGothic", "Droid Sans Fallback", "Apple SD Gothic Neo", "Hiragino Sans", "PingFang SC", "Malgun Gothic"),
    *("Yu Gothic", "Microsoft YaHei", "Arial Unicode MS", "Noto Sans Devanagari", "Lohit Devanagari", "Noto Sans Thai"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Bengali", "Noto Sans Tamil", "Unifont"),
)


@cache
def families() -> list[str]:
    """Installed ones, in the order in which a character is looked for; the first has Latin, Greek and Cyrillic."""
    there = {font.name for font in fontManager.ttflist}
    return [name for name in _WANTED if name in there]


@cache
def _characters() -> frozenset[int]:
    """Code points that can be drawn."""
    fonts = [get_font(findfont(FontProperties(family=name))) for name in families()]
    return frozenset(code for font in fonts for code in font.get_charmap())


def drawable(text: str, most: int) -> str:
    """A text of at most so many characters, a box for each that no font has: drawing it warns of nothing."""
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(char if ord(char) in _characters() else BOX for char in text if char.isprintable())
