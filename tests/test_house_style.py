"""The tests' own rules that a machine can check: expected before actual, and no module longer than one of the package.

A constant is what is expected: a literal (f-strings too), a display or an arithmetic of constants, ``pytest.approx`` of
one, a name in CAPITALS. Where one side of an ``assert left == right`` is a constant and the other is not, the constant
stands left.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.test_architecture import MOST_LINES

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()


def is_constant(node: ast.expr) -> bool:
    """Whether it says by itself what is expected."""
    match node:
        case ast.Constant() | ast.JoinedStr():
            return True
        case ast.Name() | ast.Attribute():
            return (node.id if isinstance(node, ast.Name) else node.attr).isupper()
        case ast.Tuple() | ast.List() | ast.Set():
            return all(map(is_constant, node.elts))
        case ast.Dict():
            return all(key is not None and is_constant(key) for key in node.keys) and all(map(is_constant, node.values))
        case ast.UnaryOp():
            return is_constant(node.operand)
        case ast.BinOp():
            return is_constant(node.left) and is_constant(node.right)
        case ast.Call(func=ast.Attribute(attr="approx"), args=[value]):
            return is_constant(value)
        case _:
            return False


def turned_round(tree: ast.Module) -> list[ast.Compare]:
    """The comparisons of asserts that have the actual value before the expected one."""
    return [
        node.test
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        and isinstance(node.test, ast.Compare)
        and len(node.test.ops) == 1
        and isinstance(node.test.ops[0], ast.Eq)
        and is_constant(node.test.comparators[0])
        and not is_constant(node.test.left)
    ]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_expected_stands_before_actual(path: Path) -> None:
    assert [] == [compare.lineno for compare in turned_round(ast.parse(path.read_text()))]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_of_tests_is_read_in_one_go(path: Path) -> None:
    assert path.read_text().count("\n") <= MOST_LINES, f"{named(path)} is longer than {MOST_LINES} lines"
