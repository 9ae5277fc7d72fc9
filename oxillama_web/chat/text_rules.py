"""Rules of texts with marks, some of which are control tokens of the vocabulary."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from ..grammar.expressions import Chars, Choice, Expression, Reference, Repeat, Token, inverted
from ..grammar.expressions import Sequence as Row
from .call_format import ANY, parts

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer
    from .thinking import ThoughtMarks

_ANYTHING = Chars(((0, 0x10FFFF),))
_ID = Repeat(Chars(((48, 57), (65, 90), (95, 95), (97, 122))), 1, 64)
SPACE = Repeat(Choice(tuple(Chars(((ord(c), ord(c)),)) for c in " \t\r\n")), 0, 4)


class TextRules:
    """Makes the rules of a grammar.

    Attributes:
        rules: those so far, by name.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.rules: dict[str, Expression] = {}
        self._tokenizer = tokenizer
        self._ends = [tokenizer.token_bytes(t).decode("utf-8", "ignore") for t in tokenizer.eog_ids]
        self._numbers = count()

    def name(self, kind: str) -> str:
        """Return a name, or a beginning of names, that no other rule has."""
        return f"{kind}{next(self._numbers)}-"

    def add(self, rules: dict[str, Expression]) -> Expression:
        """Add all rules of a grammar; return its root."""
        prefix = self.name("part")
        self.rules |= {prefix + name: _renamed(rule, prefix) for name, rule in rules.items()}
        return Reference(prefix + "root")

    def thought(self, marks: ThoughtMarks, *, is_open: bool) -> Expression:
        """Return a thought and its last mark; there may be none if it is not open already."""
        rest = Row((self.text_until(marks.end), SPACE))
        return rest if is_open else Repeat(Row((SPACE, self.text(marks.start), rest)), 0, 1)

    def text(self, text: str) -> Expression:
        """Return a text of the format, without what ends an answer."""
        for end in self._ends:
            text = text.partition(end)[0] if end else text
        items: list[Expression] = []
        at = 0
        for part in parts(text):
            start = text.index(part, at)
            items += chars(text[at:start])
            at = start + len(part)
            token = self._control_token(part)
            items += [Token(token, False)] if token is not None else _with_ids(part)
        return Row((*items, *chars(text[at:])))

    def _control_token(self, part: str) -> int | None:
        ids = self._tokenizer.encode(part, False, True, False)
        return ids[0] if len(ids) == 1 and self._tokenizer.is_control(ids[0]) else None

    def text_until(self, mark: str) -> Expression:
        """Return any text up to the first occurrence of a mark, and the mark."""
        if self._control_token(mark) is not None:
            return Row((Repeat(_ANYTHING, 0, None), self.text(mark)))
        prefix = self.name("text")
        # Knuth, Morris and Pratt's automaton: state i has read i characters of the mark
        for i in range(len(mark)):
            targets = {c: _matched(mark[:i] + c, mark) for c in set(mark)}
            choices: list[Expression] = [
                Row((*chars(c), *((Reference(f"{prefix}{n}"),) if n < len(mark) else ())))
                for c, n in sorted(targets.items())
            ]
            others = inverted(tuple(sorted((ord(c), ord(c)) for c in set(mark))))
            choices.append(Row((Chars(others), Reference(f"{prefix}0"))))
            self.rules[f"{prefix}{i}"] = Choice(tuple(choices))
        return Reference(f"{prefix}0")


def _matched(text: str, mark: str) -> int:
    """Return how much of the mark a text ends with."""
    return next(n for n in range(len(mark), -1, -1) if text.endswith(mark[:n]))


def chars(text: str) -> list[Expression]:
    """Return the characters of a text."""
    return [Chars(((ord(c), ord(c)),)) for c in text]


def _with_ids(part: str) -> list[Expression]:
    first, *others = part.split(ANY)
    return [*chars(first), *(item for other in others for item in (_ID, *chars(other)))]


def _renamed(expression: Expression, prefix: str) -> Expression:
    """Return a rule whose references begin with a prefix."""
    match expression:
        case Reference(name):
            return Reference(prefix + name)
        case Row(items):
            return Row(tuple(_renamed(item, prefix) for item in items))
        case Choice(options):
            return Choice(tuple(_renamed(option, prefix) for option in options))
        case Repeat(item, least, most):
            return Repeat(_renamed(item, prefix), least, most)
    return expression
