"""Rules for the tests themselves, and one for the statements."""

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tests.support.processes import ROOT

TESTS = ROOT / "tests"
LONGEST_NAME = 70
Node = TypeVar("Node", bound=ast.AST)
# Programs rather than tests: each has a main() and a Load of its own.
PROGRAMS = ("bench", "chaos")
# Private in name only: documented parts of named tuples, Peewee models and the sys and os modules.
PUBLIC = {"_asdict", "_current_frames", "_exit", "_fields", "_getframe", "_make", "_meta", "_replace"}


@functools.cache
def parse_all() -> dict[Path, ast.Module]:
    """Return the modules of the tests."""
    return {path: ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}


def test_names_of_tests_are_short_sentences() -> None:
    too_long = [
        f"{where(path, node)} {node.name}: {len(node.name)} characters"
        for path, node in walk(ast.FunctionDef)
        if node.name.startswith("test_") and len(node.name) > LONGEST_NAME
    ]
    assert not too_long, "\n" + "\n".join(too_long)


def test_a_helper_is_written_once_and_shared() -> None:
    definitions: dict[str, list[str]] = defaultdict(list)
    for path, module in parse_all().items():
        if path.relative_to(TESTS).parts[0] not in PROGRAMS:
            for node in module.body:
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                # A fixture depends on the names that its module gives to things.
                if not node.decorator_list and not node.name.startswith("test_"):
                    definitions[describe_code(node)].append(f"{where(path, node)} {node.name}")
    repeated = [", ".join(places) for places in definitions.values() if len(places) > 1]
    assert not repeated, "\n" + "\n".join(repeated)


def describe_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return what a function does, in the form of its syntax tree, without its name and its docstring."""
    is_documented = ast.get_docstring(function) is not None
    return type(function).__name__ + ast.dump(function.args) + "".join(map(ast.dump, function.body[is_documented:]))


def test_no_private_name_of_another_module_is_used() -> None:
    used = [
        f"{where(path, node)} {ast.unparse(node)}" for path, node in walk(ast.Attribute) if is_private_of_another(node)
    ]
    used += [
        f"{where(path, node)} {node.module}.{alias.name}"
        for path, node in walk(ast.ImportFrom)
        for alias in node.names
        if is_private(alias.name)
    ]
    used += [f"{where(path, node)} {ast.unparse(node)}" for path, node in walk(ast.Call) if is_private_by_name(node)]
    assert not used, "\n" + "\n".join(used)


def is_private_of_another(node: ast.Attribute) -> bool:
    is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    return is_private(node.attr) and not is_own


def is_private_by_name(node: ast.Call) -> bool:
    """Return whether the call is like `monkeypatch.setattr(thing, "_private", …)`."""
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    return function in ("getattr", "setattr", "delattr") and any(isinstance(n, str) and is_private(n) for n in names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def walk(kind: type[Node]) -> Iterator[tuple[Path, Node]]:
    for path, module in parse_all().items():
        for node in ast.walk(module):
            if isinstance(node, kind):
                yield path, node


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def test_no_statement_sorts_ids_as_texts() -> None:
    # `ORDER BY id` behind `SELECT id::text` sorts by the text, in the order of a language in which "aa" follows "f".
    sorted_texts = re.compile(
        r"SELECT (?:(?!SELECT).)*?\b(\w*id)::text(?:(?!SELECT|AS \1\b).)*?ORDER BY \1\b", re.DOTALL
    )
    found = [
        f"{path.name}: {match[0]}"
        for path in (ROOT / "storage").glob("*.py")
        for match in sorted_texts.finditer(path.read_text())
    ]
    assert not found
