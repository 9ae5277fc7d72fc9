"""Checks the structure of the source tree; `make lint` runs it.

Nothing is imported in circles, functions and files are short, and an operation, a format, an
architecture or a JavaScript method is named in few files. The script reads source text only, and
needs nothing but Python.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

PACKAGE = "oxillama_web"
MAX_LOOSE_MODULES = 8
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500
# Code files that name one thing, its tests apart. To add another costs edits in as many. An
# operation has a row in kernels_c/ops/ops.h besides.
MAX_OPERATION_FILES = 3
MAX_FORMAT_FILES = 4
MAX_METHOD_FILES = 3

# Folders with code of our own.
CODE_FOLDERS = (PACKAGE, "kernels_c", "web", "tests", "tools", "bench")
CODE_SUFFIXES = (".py", ".c", ".h", ".js", ".mjs", ".css", ".html", ".sh")
# Files that may be longer, and why.
LONG_FILES: dict[str, str] = {}
# What rewrites plans, or runs parts of them, looks for some operations.
PASSES = [
    *(f"{PACKAGE}/plan/{name}.py" for name in ("barriers", "kv_shift", "lora", "weight_chunks")),
    f"{PACKAGE}/backends/kernels/paging.py",
]
# Formats that more files name: those of floats, those that the cache has too, the one by which a
# library is tested, and those whose vectors are in codebooks.
COMMON_FORMATS = re.compile(r"I\d+|B?F\d+|Q8_0|Q4_0|IQ[123]_.*")

COMMENT_OR_STRING = r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"


def check(root: Path) -> Iterator[str]:
    """Yields a message for each rule that the tree at `root` breaks."""
    for rule in RULES:
        yield from rule(root)


def python_circles(root: Path) -> Iterator[str]:
    """Modules of the package that import each other, also lazily or for their types alone."""
    for circle in circles(module_graph(root)):
        yield f"Python modules import each other: {' -> '.join(circle)}"


def folder_circles(root: Path) -> Iterator[str]:
    """Folders of the package whose modules import each other; loose modules are none."""
    graph: dict[str, set[str]] = {}
    for module, imported in module_graph(root).items():
        folder = _folder(root, module)
        others = {_folder(root, other) for other in imported}
        graph.setdefault(folder, set()).update(others - {folder, ""})
    graph.pop("", None)
    for circle in circles(graph):
        yield f"folders of {PACKAGE} import each other: {' -> '.join(circle)}"


def c_circles(root: Path) -> Iterator[str]:
    """Units of C that include each other; a unit is x.c with x.h, or one of them alone."""
    folder = root / "kernels_c"
    graph: dict[str, set[str]] = {}
    for path in _files(folder, ".c", ".h"):
        unit = path.relative_to(folder).with_suffix("").as_posix()
        included = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
        units = {PurePosixPath(name).with_suffix("").as_posix() for name in included}
        graph.setdefault(unit, set()).update(units - {unit})
    for circle in circles(graph):
        yield f"C units include each other: {' -> '.join(circle)}"


def javascript_circles(root: Path) -> Iterator[str]:
    """Modules of web/ that import each other, for more than types."""
    graph: dict[str, set[str]] = {}
    for path in _files(root / "web", ".js"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)  # types
        names = re.findall(r'\b(?:from|import)\s*\(?\s*"(\.[^"]+)"', text)
        imported = {(path.parent / name).resolve() for name in names}
        graph[_name(path, root)] = {_name(p, root) for p in imported if p.is_file()}
    for circle in circles(graph):
        yield f"JavaScript modules import each other: {' -> '.join(circle)}"


def loose_modules(root: Path) -> Iterator[str]:
    """Modules beside the package's folders."""
    loose = sorted(path.name for path in (root / PACKAGE).glob("*.py"))
    if len(loose) > MAX_LOOSE_MODULES:
        yield (
            f"{PACKAGE}/ has {len(loose)} modules outside of folders, and {MAX_LOOSE_MODULES} are "
            f"the most: {', '.join(loose)}"
        )


def long_functions(root: Path) -> Iterator[str]:
    """Functions of Python and C; eslint counts those of JavaScript."""
    for path in _code(root):
        if path.suffix == ".py":
            found = python_functions(path.read_text())
        elif path.suffix in (".c", ".h"):
            found = c_functions(path.read_text())
        else:
            continue
        for name, line, n_lines in found:
            if n_lines > MAX_FUNCTION_LINES:
                yield (
                    f"{_name(path, root)}:{line}: {name} has {n_lines} lines, and "
                    f"{MAX_FUNCTION_LINES} are the most"
                )


def long_files(root: Path) -> Iterator[str]:
    """Files of code, but for LONG_FILES."""
    for path in _code(root):
        name, n_lines = _name(path, root), len(path.read_text().splitlines())
        if n_lines > MAX_FILE_LINES and name not in LONG_FILES:
            yield f"{name} has {n_lines} lines, and {MAX_FILE_LINES} are the most"
        if n_lines <= MAX_FILE_LINES and name in LONG_FILES:
            yield f"{name} has {n_lines} lines and need not be in LONG_FILES"


def operations_in_many_files(root: Path) -> Iterator[str]:
    """Operations of a plan, wherever anything but an architecture or a pass names them."""
    paths = _files(root / PACKAGE / "plan" / "operations", ".py")
    operations = [name for path in paths for name in _subclasses(path, "Operation")]
    graph = module_graph(root)
    for path in _files(root / PACKAGE, ".py"):
        imported = graph[_short(_module(path, root))]
        # other modules may have classes of the same name
        if any(module.startswith("plan.operations") for module in imported):
            paths.append(path)
    files = [
        *(path for path in dict.fromkeys(paths) if path.parent.name != "architectures"),
        *_files(root / "kernels_c", ".c", ".h"),
    ]
    files = [path for path in files if _name(path, root) not in PASSES]
    patterns = {
        name: (name, rf"ox_(check_)?{_snake(name)}|{_snake(name)}_args") for name in operations
    }
    yield from _in_many_files(root, "operation", patterns, files, MAX_OPERATION_FILES)


def formats_in_many_files(root: Path) -> Iterator[str]:
    """Quantized formats of bit fields, members of GGMLType."""
    names = _members(root / PACKAGE / "gguf" / "types.py", "GGMLType")
    formats = [name for name in names if not COMMON_FORMATS.fullmatch(name)]
    files = [*_files(root / PACKAGE, ".py"), *_files(root / "kernels_c", ".c", ".h")]
    patterns = {name: (rf"(?i:(.*_)?{name}(_.*)?)",) * 2 for name in formats}
    yield from _in_many_files(root, "format", patterns, files, MAX_FORMAT_FILES)


def methods_in_many_files(root: Path) -> Iterator[str]:
    """Methods of the JavaScript API, keys of METHODS in web/protocol.js, where they are made."""
    table = re.search(r"METHODS = \{(.*?)\n\}", _text(root / "web" / "protocol.js"), re.DOTALL)
    methods = re.findall(r"^ *(\w+):", table[1] if table else "", re.MULTILINE)
    files = [
        *(root / "web").glob("*.js"),
        *_files(root / "web" / "worker", ".js"),
        root / PACKAGE / "browser" / "worker.py",
    ]
    patterns = {name: (_snake(name), name) for name in methods}
    yield from _in_many_files(root, "method", patterns, files, MAX_METHOD_FILES)


def listed_architectures(root: Path) -> Iterator[str]:
    """Modules that name an architecture other than their own: each is found by its file's name."""
    files = _files(root / PACKAGE / "architectures", ".py")
    graph = module_graph(root)
    names = {path: _constant(path, "ARCHITECTURE") for path in files}
    if not any(names.values()):
        yield "no architecture is found, so this check has to be adapted"
    for path, name in names.items():
        module = _short(_module(path, root))
        users = [_name(other, root) for other in files if other != path and name in _strings(other)]
        for other, imported in graph.items():
            if name and module in imported and not other.startswith("architectures."):
                users.append(other)
        for user in users:
            yield f"{user} names the architecture {name}, and only its own module may"


RULES: tuple[Callable[[Path], Iterator[str]], ...] = (
    python_circles,
    folder_circles,
    c_circles,
    javascript_circles,
    loose_modules,
    long_functions,
    long_files,
    operations_in_many_files,
    formats_in_many_files,
    methods_in_many_files,
    listed_architectures,
)


def module_graph(root: Path) -> dict[str, set[str]]:
    """The package's modules, without its name, and the modules that each imports anywhere.

    A name that is imported from a package counts as the module of that name, if there is one, and
    else as the package itself.
    """
    paths = {_module(path, root): path for path in _files(root / PACKAGE, ".py")}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        imported = {_known(name, paths) for name in _imports(path, module)} - {module}
        graph[_short(module)] = {_short(other) for other in imported if other}
    return graph


def circles(graph: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """A shortest circle of each set of nodes that reach each other, its first node again last."""
    reach = {node: _reachable(graph, node) for node in graph}
    done: set[str] = set()
    for node in sorted(graph):
        if node in done or node not in reach[node]:
            continue
        done |= {other for other in reach[node] if node in reach.get(other, ())}
        yield _shortest_circle(graph, node)


def python_functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, first line and number of lines of each function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def c_functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, first line and number of lines of each function, and of each macro that is a body."""
    text = _blank(source, COMMENT_OR_STRING)
    macro = r"^[ \t]*#[ \t]*(?:define[ \t]+(\w+))?(?:[^\n]*\\\n)*[^\n]*"
    for match in re.finditer(macro, text, re.MULTILINE):
        if match[1]:
            yield match[1], text.count("\n", 0, match.start()) + 1, match[0].count("\n") + 1
    stamped = r"^[A-Z][A-Z0-9_]*\([^;{}]*?\)[ \t]*$"
    text = _blank(_blank(text, macro), stamped)
    depth, declared = 0, 0
    for match in re.finditer(r"[{};]", text):
        if match[0] == "{":
            if depth == 0:
                opened = text[declared : match.start()]
            depth += 1
            continue
        depth -= match[0] == "}"
        if depth == 0:
            name = re.search(r"(\w+)\s*\([^={}]*\)\s*$", opened) if match[0] == "}" else None
            if name:
                start = declared + len(opened) - len(opened.lstrip())
                n_lines = text.count("\n", start, match.end()) + 1
                yield name[1], text.count("\n", 0, start) + 1, n_lines
            declared = match.end()


@cache
def identifiers(source: str, is_python: bool) -> set[str]:
    """Return the names in Python, C or JavaScript, without those in comments and strings."""
    if is_python:
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        return {token.string for token in tokens if token.type == tokenize.NAME}
    return set(re.findall(r"[A-Za-z_]\w*", _blank(source, COMMENT_OR_STRING)))


def _in_many_files(
    root: Path,
    kind: str,
    patterns: Mapping[str, tuple[str, str]],
    files: Iterable[Path],
    limit: int,
) -> Iterator[str]:
    """Yield a message for each name that is in more files than the limit.

    Args:
        patterns: the identifiers that count as the name, in Python and in other languages.
    """
    if not patterns:
        yield f"no {kind} is found, so this check has to be adapted"
    for name, (python, other) in patterns.items():
        found = []
        for path in files:
            is_python = path.suffix == ".py"
            matches = re.compile(python if is_python else other).fullmatch
            if any(map(matches, identifiers(_text(path), is_python))):
                found.append(_name(path, root))
        if len(found) > limit:
            yield (
                f"the {kind} {name} is named in {len(found)} files, and {limit} are the most: "
                f"{', '.join(found)}"
            )


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    return (node for node in ast.parse(_text(path)).body if isinstance(node, ast.ClassDef))


def _subclasses(path: Path, base: str) -> list[str]:
    """Return the public classes of a module that derive from a class, also indirectly."""
    derived = [base]
    for found in _classes(path):
        if not {ast.unparse(b) for b in found.bases}.isdisjoint(derived):
            derived.append(found.name)
    return [name for name in derived[1:] if not name.startswith("_")]


def _members(path: Path, name: str) -> list[str]:
    """Return the members of an enum."""
    nodes = [node for c in _classes(path) if c.name == name for node in c.body]
    return [ast.unparse(node.targets[0]) for node in nodes if isinstance(node, ast.Assign)]


def _constant(path: Path, name: str) -> str | None:
    """Return the string that a module assigns to a name."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    return None


def _strings(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _blank(text: str, pattern: str) -> str:
    """The text with all that matches made spaces, line by line."""
    return re.sub(
        pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.DOTALL | re.MULTILINE
    )


def _imports(path: Path, module: str) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _known(name: str, paths: Mapping[str, Path]) -> str | None:
    """The module that an imported name is, or is in; None if it is not the package's."""
    return (
        name if name in paths else next((m for m in [name.rpartition(".")[0]] if m in paths), None)
    )


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _short(module: str) -> str:
    return module.removeprefix(PACKAGE + ".")


def _folder(root: Path, module: str) -> str:
    """Return the package's folder that a module is in; "" if it is in none."""
    folder = module.split(".")[0]
    return folder if (root / PACKAGE / folder).is_dir() else ""


def _reachable(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """What can be reached from a node by at least one step."""
    seen: set[str] = set()
    work = [start]
    while work:
        new = set(graph.get(work.pop(), ())) - seen
        seen |= new
        work += new
    return seen


def _shortest_circle(graph: Mapping[str, Iterable[str]], start: str) -> list[str]:
    paths = [[start]]
    seen: set[str] = set()
    for path in paths:
        for node in sorted(graph.get(path[-1], ())):
            if node == start:
                return [*path, node]
            if node not in seen:
                seen.add(node)
                paths.append([*path, node])
    raise ValueError(f"no circle through {start}")


def _code(root: Path) -> Iterator[Path]:
    for folder in CODE_FOLDERS:
        yield from _files(root / folder, *CODE_SUFFIXES)


def _files(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes)


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    messages = list(check(parser.parse_args().root.resolve()))
    print("\n".join(messages) or "the structure is as it should be")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
