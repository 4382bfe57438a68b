"""The Latin letters that other letters look like, to recognize names that mislead.

The table is taken from Unicode's confusables.txt (UTS #39), as far as a display name can have these characters.
Decomposed and lower-case forms do not stand in it, nor do letters whose names say it: `LATIN LETTER SMALL CAPITAL A`,
`LATIN SMALL LETTER D WITH STROKE`.
"""

import re
from functools import lru_cache
from typing import Final
from unicodedata import lookup, name, normalize

_LOOKS: Final = {
    "a": "ɑαаᎪᗅꓮ𐊠𖽀",
    "aa": "ꜳ",
    "ae": "æӕ",
    "ao": "ꜵ",
    "au": "ꜷ",
    "av": "ꜹꜻ",
    "ay": "ꜽ",
    "b": "ƄΒЬвᏏᏴᑲᖯᗷꓐꞴ𐊂𐊡𐌁",
    "bl": "Ы",
    "c": "сᏟᴄⲥꓚ𐊢𐌂𐐽𐔜𑣩",
    "d": "ԁᎠᏧᑯᗞᗪꓒꓓ",
    "dz": "ʣ",
    "e": "εеҽᎬⴹꓰꬲ𐊆𑢦𑢮",
    "f": "Ϝքᖴẝꓝꞙꬵ𐊇𐊥𐔥𑣂",
    "g": "ƍɡԌցᏀᏳᶃꓖ",
    "h": "ΗнһհᎻᏂᕼⲎꓧ𐋏",
    "i": "ıɩɪιіӏᎥꙇ𑣃",
    "j": "ϳјᎫᒍꓙꞲ",
    "k": "κкᏦᛕⲔꓗ𐔘",
    "l": "ƖΙІӀ۱ᏞᒪᛁⲒⳐⵏꓡꓲ𐊊𐌉𐐛𐔦𑢣𑢲𖼖𖼨",
    "lo": "Ю",
    "ls": "ʪ",
    "lz": "ʫ",
    "m": "ΜϺмᎷᗰᛖⲘꓟ𐊰𐌑",
    "n": "ƞΝηпոռⲚⴖꓠ𐔓",
    "o": "οσоօ۵०০੦૦ଠ୦௦ం౦ಂ೦ംഠ൦ං๐໐ဝ၀ჿዐᴏᴑⲟⵔꓳꬽ𐊒𐊫𐐬𐓪𐔖𑓐𑢵𑣈𑣗𑣠",
    "oe": "œ",
    "oo": "ꚙꝏ",
    "p": "ρрᏢᑭⲣꓑ𐊕",
    "q": "ԛգզⵕ",
    "r": "ƦгᎡᏒᖇᴦⲅꓣꭇꭈꮁ𐒴𖼵",
    "rn": "𑜀𑣣",
    "s": "ƽѕՏᏕᏚꓢꜱ𐊖𐑈𑣁𖼺",
    "t": "τтᎢⲦꓔ𐊗𐊱𐌕𑢼𖼊",
    "tf": "ꝷ",
    "ts": "ʦ",
    "u": "ʋυսሀᑌᴜꓴꞟꭎꭒ𐓶𑣘𖽂",
    "ue": "ᵫ",
    "uo": "ꭣ",
    "v": "νѵ۷Ꮩᐯᴠⴸꓦꛟ𐔝𑜆𑣀𖼈",
    "w": "ɯωѡԝաᎳᏔᴡꓪ𑜊𑜎𑜏𑣦",
    "x": "χхᕁᕽᚷⲬⵝꓫꞳ𐊐𐊴𐌗𐔧",
    "y": "ɣʏΥγуүყᎩᎽᶌỿⲨꓬꭚ𐊲𑢤𑣜𖽃",
    "z": "ΖᏃᴢꓜ𑢩𑣄𑣥",
}
_LATIN: Final = {char: latin for latin, chars in _LOOKS.items() for char in chars}

_ORNAMENT: Final = re.compile(
    r" WITH .*|(?<=LETTER )(TURNED|REVERSED|INVERTED|SIDEWAYS|DOTLESS|OPEN|SCRIPT|BARRED|STRETCHED|LONG-LEGGED) "
)


def latin(text: str) -> str:
    """The lower-case Latin letters and digits that a text looks like; everything else is left out."""
    looks = "".join(map(_looks, normalize("NFKD", text))).lower()
    return "".join(char for char in looks if char.isascii() and char.isalnum())


@lru_cache(1024)
def _looks(char: str) -> str:
    if char.isascii():
        return char
    known = _LATIN.get(char) or _LATIN.get(char.casefold())
    return known or _base(char)


def _base(char: str) -> str:
    """The letter without what its name says that it has besides; "" if it has nothing."""
    called = name(char, "")
    bare = _ORNAMENT.sub("", called).replace("LATIN LETTER SMALL CAPITAL", "LATIN CAPITAL LETTER")
    if bare == called:
        return char.casefold()
    try:
        return _looks(lookup(bare))
    except KeyError:
        return ""
