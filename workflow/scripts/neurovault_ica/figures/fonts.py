"""The font of all figures: DejaVu Sans, with the characters of Latin and Greek alone.

A PDF contains the characters that it uses. Taking them from the whole font takes a fifth of a second per font and
figure; from this small one, a hundredth. Other characters come from the whole font.
"""

import functools
import zlib
from pathlib import Path

import matplotlib as mpl
from fontTools.subset import Options, Subsetter, load_font
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import FT2Font

from neurovault_ica.runtime.files import replacing

WHOLE, SMALL = "DejaVu Sans", "DejaVu Sans of figures"
# Latin with the letters of Western and Central Europe, Greek, and the signs of numbers and of punctuation.
CHARACTERS = (
    *range(0x20, 0x7F),
    *range(0xA0, 0x180),
    *range(0x386, 0x3CF),
    *map(ord, "–—‘’“”…•←→−≤≥≠≈∞⁰⁴⁵⁶⁷⁸⁹⁻\ufffd"),
)
# Tables with kerning and ligatures, for formulas, for screens, and those of the editor. Without those for formulas and
# screens, taking characters from the font takes half as long.
UNUSED = ("GDEF", "GPOS", "GSUB", "kern", "MATH", "gasp", "FFTM", "PfEd")
# Part of the name of the small fonts, which stay in matplotlib's cache: it changes whenever they do.
VERSION = f"{mpl.__version__}-{zlib.crc32(repr((CHARACTERS, UNUSED)).encode()):08x}"


@functools.cache
def add_fonts() -> list[str]:
    """Make the fonts known to matplotlib, and return their families in the order of search.

    The small fonts are made once, and kept in matplotlib's cache.
    """
    for weight in ("normal", "bold"):
        whole = Path(findfont(FontProperties(family=WHOLE, weight=weight)))
        small = Path(mpl.get_cachedir()) / f"neurovault_ica-{VERSION}-{whole.name}"
        if not small.exists():
            _write_small(whole, small)
        fontManager.addfont(small)
    return [SMALL, WHOLE]


def _write_small(whole: Path, small: Path) -> None:
    """Reduce a font to `CHARACTERS`, without tables that figures do not use."""
    options = Options(hinting=False, layout_features=[], notdef_outline=True, glyph_names=True, drop_tables=[*UNUSED])
    font: TTFont = load_font(str(whole), options)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=CHARACTERS)
    subsetter.subset(font)
    for name in font["name"].names:
        if name.nameID == 1:  # the family, by which matplotlib finds it
            name.string = SMALL
    with replacing(small) as temporary:
        font.save(temporary)


@functools.cache
def known_characters() -> frozenset[int]:
    """Return the characters that can be drawn."""
    return frozenset(_whole(bold=False).get_charmap())


@functools.cache
def advance(character: str, bold: bool, size: float, dpi: int) -> tuple[float, float]:
    """Return the width of a character in pixels: in a PDF, and in a PNG, where it is a whole number of pixels."""
    font = _whole(bold)
    font.set_size(size, dpi)
    glyph = font.load_char(ord(character))
    return glyph.linearHoriAdvance / 65536, glyph.horiAdvance / 64


def _whole(bold: bool) -> FT2Font:
    return get_font(findfont(FontProperties(family=WHOLE, weight="bold" if bold else "normal")))
