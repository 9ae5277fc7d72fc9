"""The formats of strings that JSON Schema names, as regular expressions.

What is written is always of the format; not all that is of the format can be written. A format that
is not here is an annotation, which asserts nothing.
"""

from __future__ import annotations

from .regex import Regex, parse_regex

_YEAR = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
    f"02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_HOUR = "([01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{_HOUR}:[0-5][0-9])"
_COUNT = "[0-9]{1,6}"
_DAYS = f"({_COUNT}Y({_COUNT}M({_COUNT}D)?)?|{_COUNT}M({_COUNT}D)?|{_COUNT}D)"
_HOURS = f"({_COUNT}H({_COUNT}M({_COUNT}S)?)?|{_COUNT}M({_COUNT}S)?|{_COUNT}S)"
_DURATION = f"P({_COUNT}W|{_DAYS}(T{_HOURS})?|T{_HOURS})"

# No two hyphens in a row: those in the third and fourth place say that a name is encoded.
_LABEL = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,14}){0,2}"
_HOST = rf"{_LABEL}(\.{_LABEL}){{0,3}}"
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"
_EMAIL = rf"{_ATOM}(\.{_ATOM}){{0,2}}@{_LABEL}(\.{_LABEL}){{0,2}}\.[A-Za-z]{{2,24}}"

_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(\.{_BYTE}){{3}}"
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        f"({_GROUP}:){{7}}{_GROUP}",
        f"({_GROUP}:){{6}}{_IPV4}",
        f"::({_GROUP}(:{_GROUP}){{0,6}})?",
        f"::({_GROUP}:){{0,4}}{_IPV4}",
        *(f"({_GROUP}:){{{n}}}:{_GROUP}(:{_GROUP}){{0,{6 - n}}}" for n in range(1, 7)),
        f"({_GROUP}:){{1,7}}:",
    ]
)

_HEX = "%[0-9A-Fa-f]{2}"
_USER_CHAR = f"([A-Za-z0-9._~!$&'()*+,;=:-]|{_HEX})"
_PATH_CHAR = f"([A-Za-z0-9._~!$&'()*+,;=:@-]|{_HEX})"
_NO_COLON = f"([A-Za-z0-9._~!$&'()*+,;=@-]|{_HEX})"
_QUERY_CHAR = f"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|{_HEX})"
_AUTHORITY = rf"({_USER_CHAR}*@)?([A-Za-z0-9._~-]*|\[({_IPV6})\])(:[0-9]{{0,5}})?"
_ENDS = rf"(\?{_QUERY_CHAR}*)?(#{_QUERY_CHAR}*)?"
_SEGMENTS = f"(/{_PATH_CHAR}*)*"
_SCHEME = "[A-Za-z][A-Za-z0-9+.-]*"
_URI = f"{_SCHEME}:(//{_AUTHORITY}{_SEGMENTS}|/?({_PATH_CHAR}+{_SEGMENTS})?){_ENDS}"
_RELATIVE = (
    f"(//{_AUTHORITY}{_SEGMENTS}|/({_PATH_CHAR}+{_SEGMENTS})?|({_NO_COLON}+{_SEGMENTS})?){_ENDS}"
)
_TEMPLATE_NAME = r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*"
_TEMPLATE = (
    rf"([A-Za-z0-9._~:/?#@!$&()*+,;=-]|{_HEX}|"
    rf"\{{[+#./;?&]?{_TEMPLATE_NAME}(,{_TEMPLATE_NAME})*\}})*"
)
_POINTER = "(/([^/~]|~[01])*)*"

# Regular expressions that every dialect reads: groups at most two deep.
_RE_CHAR = r"([A-Za-z0-9 _@#%&=:;,<>/'\"!~`-]|\\[dDsSwW.*+?^$()\[\]{}|\\/nrt])"
_RE_SET = r"\[\^?([A-Za-z0-9_ ]|[a]-[z]|[A]-[Z]|[0]-[9]|\\[dsw.\\-])+\]"
_RE_TIMES = r"([*+?]|\{[0-9]\})?"
_RE_PART = rf"({_RE_CHAR}|\.|{_RE_SET}){_RE_TIMES}"
_RE_GROUP = rf"\(({_RE_PART})+(\|({_RE_PART})+)*\){_RE_TIMES}"
_REGEX = rf"\^?({_RE_PART}|{_RE_GROUP})*(\|({_RE_PART}|{_RE_GROUP})+)*\$?"

_COLORS = (
    "aqua|black|blue|fuchsia|gray|green|lime|maroon|navy|olive|orange|purple|red|silver|teal|white|"
    "yellow"
)
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": _DURATION,
    "uuid": "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "email": _EMAIL,
    "idn-email": _EMAIL,
    "hostname": _HOST,
    "host-name": _HOST,
    "idn-hostname": _HOST.replace("A-Z", ""),
    "ipv4": _IPV4,
    "ip-address": _IPV4,
    "ipv6": _IPV6,
    "uri": _URI,
    "iri": _URI,
    "uri-reference": f"{_URI}|{_RELATIVE}",
    "iri-reference": f"{_URI}|{_RELATIVE}",
    "uri-template": _TEMPLATE,
    "json-pointer": _POINTER,
    "relative-json-pointer": f"(0|[1-9]{{1,9}})(#|{_POINTER})",
    "regex": _REGEX,
    "byte": "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
    "color": f"#[0-9A-Fa-f]{{6}}|#[0-9A-Fa-f]{{3}}|{_COLORS}",
}
_PLAIN_PATH = "[A-Za-z0-9._~!$&'()*+,;=:@/-]"
_PLAIN_QUERY = "[A-Za-z0-9._~!$&'()*+,;=:@/?-]"
_PLAIN_URI = (
    rf"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~-]*(:[0-9]*)?(/{_PLAIN_PATH}*)?"
    rf"(\?{_PLAIN_QUERY}*)?(#{_PLAIN_QUERY}*)?"
)
_PLAIN_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_EMAIL = rf"{_PLAIN_ATOM}(\.{_PLAIN_ATOM})*@([A-Za-z0-9]+(-[A-Za-z0-9]+)*\.)+[A-Za-z]{{2,24}}"
_FEW_STATES = {
    "email": _PLAIN_EMAIL,
    "idn-email": _PLAIN_EMAIL,
    "hostname": f"{_LABEL}",
    "host-name": f"{_LABEL}",
    "idn-hostname": _LABEL.replace("A-Z", ""),
    "uri": _PLAIN_URI,
    "iri": _PLAIN_URI,
    "uri-reference": _PLAIN_URI,
    "iri-reference": _PLAIN_URI,
    "regex": r"\^?([A-Za-z0-9 _-]|\\[dsw]|\.)*\$?",
}
_ADDRESSES = ("uri", "iri", "uri-reference", "iri-reference")
# What everything is that a checker takes for the format. Formats without it cannot be forbidden.
_AT_LEAST = {
    "date": r"^\d{4}-\d{2}-\d{2}$",
    "time": r"^\d{2}:\d{2}:",
    "date-time": r"^\d{4}-\d{2}-\d{2}[Tt]",
    "duration": "^P",
    "uuid": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f-]+$",
    "email": "@",
    "idn-email": "@",
    "hostname": r"^[A-Za-z0-9.-]*$",
    "ipv4": r"^\d{1,3}(\.\d{1,3}){3}$",
    "ipv6": "^[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*$",
    "uri": "^[A-Za-z][A-Za-z0-9+.-]*:",
    "json-pointer": "^(/|$)",
}


def written_format(name: str, most: int | None) -> Regex | None:
    """Return what is written for a format; None if it is an annotation.

    Args:
        most: the most characters, if that matters.
    """
    if name in _ADDRESSES and most is not None and most >= 80:
        return parse_regex(f"^{_short_uri(most)}$")
    return parse_regex(f"^({_FORMATS[name]})$") if name in _FORMATS else None


def counted_format(name: str) -> Regex | None:
    """Return what is written for a format whose characters are counted.

    That takes an automaton with few states, so of some formats there is less to choose from.
    """
    if name in _FEW_STATES:
        return parse_regex(f"^({_FEW_STATES[name]})$")
    return written_format(name, None)


def widest_format(name: str) -> Regex | None:
    """Return what all strings of a format match; None if the format cannot be forbidden."""
    return parse_regex(_AT_LEAST[name]) if name in _AT_LEAST else None


def _short_uri(most: int) -> str:
    """Web addresses of at most so many characters."""
    rest = (most - 64) // 4
    path = f"(/{_PLAIN_PATH}{{0,{2 * rest}}})?"
    ends = rf"(\?{_PLAIN_QUERY}{{0,{rest}}})?(#{_PLAIN_QUERY}{{0,{rest}}})?"
    return rf"[A-Za-z][A-Za-z0-9+.-]{{0,9}}://[A-Za-z0-9._~-]{{0,40}}(:[0-9]{{0,5}})?{path}{ends}"
