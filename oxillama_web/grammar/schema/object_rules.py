"""Objects as GBNF: their properties in the order of the schema, then any others.

Those that were left out may come among the others, at most once: a model that has begun a name must
be able to end it. Marks see to that; they also see to it that properties which count for
`minProperties` have different names.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from ...errors import GrammarError
from ..expressions import Ranges, in_ranges, inverted
from .documents import ALWAYS, NEVER, Condition, all_hold
from .machine_rules import write_dfa
from .machines import (
    Complement,
    Dfa,
    Machine,
    Product,
    State,
    Words,
    all_but,
    explore,
    words_of,
)
from .objects import Object, condition_of, pattern_machines
from .strings import Text, machines
from .text import NOTHING, Rules, char_class, json_literal

# Names without escapes, so that each has one way to be written.
_NAME_CHARS: Ranges = inverted(((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F)))
# Names that count for minProperties differ in this remainder of a sum of their characters.
_MODULUS = 31
_MAX_COUNTED = 2000
# So few names that match are listed as if a schema named them.
_MAX_WORDS = 100


class Names(NamedTuple):
    """Names that a schema does not list, with what their properties must be.

    Attributes:
        dfa: which they are; labels say which patterns match.
        least: the fewest characters.
        most: the most.
        conditions: by label.
    """

    dfa: Dfa
    least: int
    most: int | None
    conditions: dict[Hashable, Condition]


class ObjectWriter:
    """Writes objects.

    Args:
        rules: to which rules are added.
        write: writes what fits a condition.
        fits: whether a value fits a condition.
        texts: what a condition says of names: for each alternative a text, or the only names.
    """

    def __init__(
        self,
        rules: Rules,
        write: Callable[[Condition], str],
        fits: Callable[[object, Condition], bool],
        texts: Callable[[Condition], list[Text | list[str]]],
    ) -> None:
        self._rules = rules
        self._write = write
        self._fits = fits
        self._texts = texts

    def write(self, rest: Object) -> str:
        """Return objects as GBNF.

        Raises:
            GrammarError: a schema asks for what cannot be written.
        """
        if rest.exists:
            raise GrammarError("that some property must not fit cannot be written")
        names = dict.fromkeys(name for group in rest.groups for name in group.properties)
        names.update(dict.fromkeys(rest.required))
        conditions = {name: condition_of(rest, name, self._fits) for name in names}
        if any(conditions[name] is NEVER for name in rest.required):
            return NOTHING
        listed = {
            name: condition for name, condition in conditions.items() if condition is not NEVER
        }
        is_open = any(group.has_rest or group.patterns for group in rest.groups) or not listed
        is_open = is_open or rest.least > len(listed) or bool(rest.names or rest.exists)
        others: list[Names] = []
        if is_open:
            if not conditions and rest == Object():
                return "object"
            extra_names, others = self._others(rest, list(conditions))
            listed.update(extra_names)
        pairs = [(name, self._pair(name, condition)) for name, condition in listed.items()]
        return _Sequence(self._rules, self._write, rest, pairs, others).rule()

    def _pair(self, name: str, condition: Condition) -> str:
        return self._rules.add("pair", f'{json_literal(name)} ":" space {self._write(condition)}')

    def _others(self, rest: Object, known: list[str]) -> tuple[dict[str, Condition], list[Names]]:
        """The names that no schema lists, but those that another one lists are apart."""
        listed: dict[str, Condition] = {}
        texts: list[Text] = []
        for text in self._texts(all_hold(*rest.names)):
            if isinstance(text, Text):
                texts.append(text)
                continue
            for name in text:
                condition = condition_of(rest, name, self._fits)
                if name not in known and condition is not NEVER:
                    listed[name] = condition
        excluded = [*known, *listed]
        patterns = list(dict.fromkeys(p for group in rest.groups for p in group.patterns))
        found = []
        for text in texts:
            parts: list[Machine] = [*machines(text), _Labels(patterns)]
            if parts[:-1] or patterns:
                parts.insert(0, Complement(Words(excluded)))
                dfa = explore(Product(parts), _NAME_CHARS, "the names of an object's properties")
            else:
                dfa = all_but(excluded, _NAME_CHARS, ())
            if dfa is None:
                continue
            words = words_of(dfa, _MAX_WORDS)
            if words is not None:
                short = [w for w in words if len(w) >= text.least]
                short = [w for w in short if text.most is None or len(w) <= text.most]
                for name in short:
                    listed[name] = condition_of(rest, name, self._fits)
                excluded += short
                continue
            by_label: dict[Hashable, Condition] = {
                label: _condition_of_label(rest, patterns, label)
                for label in set(dfa.labels)
                if isinstance(label, tuple)
            }
            found.append(Names(dfa, text.least, text.most, by_label))
        return {name: c for name, c in listed.items() if c is not NEVER}, found


class _Labels:
    """Accepts all names; a label says for each pattern whether it matches.

    Names of which dialects differ are not accepted.
    """

    def __init__(self, patterns: list[str]) -> None:
        self._machines = [pattern_machines(pattern) for pattern in patterns]
        self.sets = [
            ranges for pair in self._machines for machine in pair for ranges in machine.sets
        ]
        self.start: State = tuple((inner.start, outer.start) for inner, outer in self._machines)

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        return tuple(
            tuple(
                None if part is None else machine.step(part, code)
                for machine, part in zip(pair, parts, strict=True)
            )
            for pair, parts in zip(self._machines, state, strict=True)
        )

    def label(self, state: State) -> Hashable:
        """Return which patterns match."""
        assert isinstance(state, tuple)
        found = []
        for pair, parts in zip(self._machines, state, strict=True):
            in_all, in_any = (
                part is not None and machine.label(part) is not False
                for machine, part in zip(pair, parts, strict=True)
            )
            if in_all != in_any:
                return False
            found.append(in_all)
        return tuple(found)


class _Summed:
    """Names of a DFA; a label is theirs, and a remainder of the sum of their characters."""

    def __init__(self, dfa: Dfa) -> None:
        self._dfa = dfa
        self.sets = [ranges for steps in dfa.steps for ranges in steps.values()]
        self.sets += [((code, code),) for code in range(0x80)]
        self.start: State = (0, 0)

    def step(self, state: State, code: int) -> State:
        """Return the state after a character."""
        assert isinstance(state, tuple)
        at, total = state
        for target, ranges in self._dfa.steps[at].items():
            if in_ranges(ranges, code):
                return target, (total * 2 + code) % _MODULUS if code < 0x80 else total
        return None

    def label(self, state: State) -> Hashable:
        """Return the name's label and the remainder."""
        assert isinstance(state, tuple)
        label = self._dfa.labels[state[0]]
        return False if label is False else (label, state[1])


def _condition_of_label(rest: Object, patterns: list[str], label: tuple[bool, ...]) -> Condition:
    matching = {pattern for pattern, does in zip(patterns, label, strict=True) if does}
    found: Condition = ALWAYS
    for group in rest.groups:
        conditions = [c for pattern, c in group.patterns.items() if pattern in matching]
        found = all_hold(found, *(conditions or [group.rest]))
    return found


class _Sequence:
    """The properties of an object, one after the other."""

    def __init__(
        self,
        rules: Rules,
        write: Callable[[Condition], str],
        rest: Object,
        pairs: list[tuple[str, str]],
        others: list[Names],
    ) -> None:
        self._rules = rules
        self._write = write
        self._required = [name in rest.required for name, _ in pairs]
        self._pairs = [pair for _, pair in pairs]
        self._others = others
        self._least = rest.least
        self._most = rest.most
        self._other_pairs = [pair for names in others for pair in self._write_others(names)]
        # properties that may come late are marked
        self._marks = [bool(self._other_pairs) and not required for required in self._required]
        self._rests: dict[tuple[int, int], str] = {}
        self._tails: dict[int, str] = {}

    def rule(self) -> str:
        """Return the object."""
        n_counts = max(self._least, self._most or 0, 1)
        if len(self._pairs) * n_counts > 50 * _MAX_COUNTED:
            raise GrammarError("too many properties are counted")
        # from the last property to the first: rules refer to what is there already
        for index in range(len(self._pairs), -1, -1):
            for count in range(index + 1):
                if count == self._counted(count):
                    self._rests[index, count] = self._rest(index, count)
        return self._rules.add("object", f'"{{" space {self._rests[0, 0]} "}}"')

    def _counted(self, count: int) -> int:
        """What is written so far, as far as it matters."""
        if self._most is not None:
            return min(count, self._most + 1)
        return min(count, max(self._least, 1))

    def _rest(self, index: int, count: int) -> str:
        """What may follow `index` properties of which `count` were written."""
        if self._most is not None and count > self._most:
            return NOTHING
        if index == len(self._pairs):
            return self._tail(count)
        comma = '"," space ' if count else ""
        after = self._rests[index + 1, self._counted(count + 1)]
        options = [f"{self._item(index, comma)} {after}"]
        if not self._required[index]:
            options.append(self._rests[index + 1, count])
        return self._rules.add("rest", f"({' | '.join(options)})")

    def _item(self, index: int, comma: str) -> str:
        """A property with its mark, which comes first: a comma must not come in vain."""
        mark = f"#once {index}\n" if self._marks[index] else ""
        return f"{mark}{comma}{self._pairs[index]}"

    def _tail(self, count: int) -> str:
        """Properties that the schema does not list, and those that were left out."""
        comma = '"," space ' if count else ""
        late = [self._item(index, comma) for index, marked in enumerate(self._marks) if marked]
        items = [*(f"{comma}{pair}" for pair in self._other_pairs), *late]
        end = "space" if count else '""'
        if not items:
            return end if count >= self._least else NOTHING
        if count == self._counted(count + 1) and self._most is None and count >= self._least:
            return self._rules.add("tail", f"(({' | '.join(items)})* space)")
        if max(self._least, self._most or 0) > _MAX_COUNTED:
            raise GrammarError(f"more than {_MAX_COUNTED} properties are counted")
        name = self._tails.get(count)
        if name is None:
            name = self._tails[count] = self._rules.new("tail")
            options = [end] if count >= self._least else []
            if self._most is None or count < self._most:
                after = self._tail(self._counted(count + 1))
                if count < self._least and self._least - sum(self._required) > 1:
                    options += [f"{comma}{self._distinct(names, after)}" for names in self._others]
                    options += [f"{item} {after}" for item in late]
                else:
                    options += [f"{item} {after}" for item in items]
            self._rules.define(name, f"({' | '.join(options) or NOTHING})")
        return name

    def _write_others(self, names: Names) -> list[str]:
        """A pair for each kind of names, as GBNF."""
        found = []
        for condition in dict.fromkeys(names.conditions.values()):
            if condition is NEVER:
                continue
            value = f'"\\":" space {self._write(condition)}'

            def suffix(label: Hashable, condition: Condition = condition) -> str | None:
                return '""' if names.conditions.get(label) == condition else None

            name = write_dfa(names.dfa, self._rules, char_class, suffix, names.least, names.most)
            if name != NOTHING:
                found.append(self._rules.add("other", f'"\\"" {name} {value}'))
        return found

    def _distinct(self, names: Names, after: str) -> str:
        """A pair whose name has another sum than those before it, and what follows it."""
        summed = explore(_Summed(names.dfa), _NAME_CHARS, "names that differ")
        assert summed is not None

        def suffix(label: Hashable) -> str | None:
            assert isinstance(label, tuple)
            condition = names.conditions.get(label[0])
            if condition is NEVER:
                return None
            mark = len(self._pairs) + label[1]
            return f'#once {mark}\n"\\":" space {self._write(condition)} {after}'

        name = write_dfa(summed, self._rules, char_class, suffix, names.least, names.most)
        return f'"\\"" {name}'
