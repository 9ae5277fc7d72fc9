"""How a JSON Schema becomes a grammar.

1. `documents` numbers all schemas of a document and finds what references point to. A condition is
   a set of such numbers: those schemas hold, and those with a negative number do not.
2. `cells` turns a condition into alternatives, each for one type of value: an interval of numbers
   (`numbers`), lengths and patterns of strings (`strings`), what items (`arrays`) and properties
   (`objects`) must be. `keywords` reads what a single schema says, and what its opposite says. Of
   what is inside of arrays and objects a cell knows conditions only, so schemas that refer to
   themselves are no problem.
3. `compiler` writes the cells of each condition once, as rules of GBNF (`text`). Numbers, and
   strings with several limits, are automata (`machines`): one for each limit (`regex_machine`, and
   some in `numbers`), combined, and then written state by state (`machine_rules`).

Every step is exact or stays on the safe side: a cell may lack values that validate, never the other
way round. What cannot be kept so is a GrammarError that names the schema and the keyword.
"""
