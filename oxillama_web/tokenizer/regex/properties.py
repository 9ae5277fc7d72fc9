r"""Named sets of code points: general categories, scripts and what \w, \s and [:alpha:] mean.

Each is as Oniguruma in the `tokenizers` library has it, which is not always as its manual says.
Most come from unicode_ranges.py, which is imported when the first text needs it: for ASCII text,
the sets below are enough.
"""

from __future__ import annotations

from functools import cache

from .code_points import ANY, ASCII_LIMIT, Ranges, clipped, complement, of_character, union

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def named_set(name: str, limit: int, in_brackets: bool = False) -> Ranges:
    """Return the code points of a named set, up to a limit.

    Args:
        name: such as "Lu", "White_Space" or "word"; case, spaces, "-" and "_" do not matter.
        limit: the greatest code point that is needed.
        in_brackets: the name occurs in a bracket expression, where some mean something else.

    Raises:
        KeyError: there is no set of this name.
    """
    plain = name.translate(_IGNORED).lower()
    plain = _SYNONYMS.get(plain, plain)
    if limit == ASCII_LIMIT and plain in _ASCII:
        return _ASCII[plain]
    return clipped(_resolved("wordinbrackets" if in_brackets and plain == "word" else plain), limit)


def characters(text: str) -> Ranges:
    """Return the set of the characters of a text."""
    return union(map(of_character, text))


_IGNORED = dict.fromkeys(map(ord, " -_"))
_SYNONYMS = dict(
    pair.split("=")
    for pair in (
        "letter=l casedletter=lc uppercaseletter=lu lowercaseletter=ll titlecaseletter=lt "
        "modifierletter=lm otherletter=lo mark=m combiningmark=m nonspacingmark=mn spacingmark=mc "
        "enclosingmark=me number=n decimalnumber=nd letternumber=nl othernumber=no punctuation=p "
        "connectorpunctuation=pc dashpunctuation=pd openpunctuation=ps closepunctuation=pe "
        "initialpunctuation=pi finalpunctuation=pf otherpunctuation=po symbol=s mathsymbol=sm "
        "currencysymbol=sc modifiersymbol=sk othersymbol=so separator=z spaceseparator=zs "
        "lineseparator=zl paragraphseparator=zp other=c control=cc format=cf privateuse=co "
        "unassigned=cn alpha=alphabetic cntrl=cc digit=nd lower=lowercase punct=p "
        "space=whitespace wspace=whitespace upper=uppercase"
    ).split()
)
_UNIONS = {
    "l": "lu ll lt lm lo",
    "lc": "lu ll lt",
    "m": "mn mc me",
    "n": "nd nl no",
    "p": "pc pd ps pe pi pf po",
    "s": "sm sc sk so",
    "z": "zs zl zp",
    "c": "cc cf co cn",
    "alnum": "alphabetic nd",
    "blank": "tab zs",
    "posixpunct": "p s",
    "print": "graph zs",
}
_COMPLEMENTS = {
    "cn": "l m n p s z cc cf co",
    "assigned": "cn",
    "graph": "whitespace cc cn",
    # in brackets, \w does without some numbers of Latin-1
    "wordinbrackets": "notword latin1numbers",
    "notword": "word",
}
_FIXED: dict[str, Ranges] = {
    "whitespace": characters(WHITE_SPACE),
    "latin1numbers": characters("²³¹¼½¾"),
    "tab": characters("\t"),
    "xdigit": characters("0123456789abcdefABCDEF"),
    "ascii": ((0, ASCII_LIMIT),),
    "any": ANY,
}
_LETTERS: Ranges = ((0x41, 0x5A), (0x61, 0x7A))
_DIGITS: Ranges = ((0x30, 0x39),)
# the common ones again, up to U+007F
_ASCII: dict[str, Ranges] = {
    "l": _LETTERS,
    "lu": _LETTERS[:1],
    "ll": _LETTERS[1:],
    "n": _DIGITS,
    "nd": _DIGITS,
    "p": characters("!\"#%&'()*,-./:;?@[\\]_{}"),
    "s": characters("$+<=>^`|~"),
    "alphabetic": _LETTERS,
    "word": union([_LETTERS, _DIGITS, characters("_")]),
    "rust:numeric": _DIGITS,
    **dict.fromkeys(("lt", "lm", "lo", "m"), ()),
    **dict.fromkeys(("rust:unnormalized", "rust:strippedaccent", "rust:strippedbybert"), ()),
}


@cache
def _resolved(name: str) -> Ranges:
    if name in _FIXED:
        return _FIXED[name]
    if name in _UNIONS:
        return union(map(_resolved, _UNIONS[name].split()))
    if name in _COMPLEMENTS:
        return complement(union(map(_resolved, _COMPLEMENTS[name].split())))
    from .unicode_ranges import RANGES

    return _decoded(RANGES[name])


def _decoded(text: str) -> Ranges:
    """Return the ranges that tools/make_unicode_ranges.py has written."""
    ranges = []
    end = 0
    for word in text.split():
        gap, _, length = word.partition(",")
        first = end + int(gap, 36)
        last = first + int(length or "0", 36)
        ranges.append((first, last))
        end = last + 1
    return tuple(ranges)
