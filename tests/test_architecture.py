"""The house rules that a machine can check, read from the imports with ``ast``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ctrlserver"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A room may import rooms of a lower number only; wire and stats share a number, so they do not know each other.
# Rooms of number 4 are neighbours: admin, load and net stand side by side.
FLOOR = {
    "": 0,
    "errors": 0,
    "units": 1,
    "wire": 2,
    "stats": 2,
    "render": 3,
    "config": 3,
    "history": 3,
    "net": 4,
    "admin": 4,
    "workers": 4,
    "load": 4,
    "stat": 4,
    "service": 5,
    "tap": 6,
    "testing": 6,
}

# Besides their own room: the generator's sockets run on the same lane as the server's.
NEIGHBOURS = {("load", "net")}

PURE_ROOMS = {"wire", "stats", "render"}
PURE_FILES = {"admin/dialogue.py", "load/schedule.py", "load/ledger.py", "load/pattern.py", "load/thresholds.py"}
PURE_FILES |= {"load/profile.py", "load/backlog.py", "load/timing.py", "load/verdict.py"}
PURE_FILES |= {"load/searching.py"}
PURE_FILES |= {"net/gate.py", "net/asking.py", "net/drops.py"}
PURE_FILES |= {"load/comparison.py", "load/reconciling.py"}
PURE_FILES |= {"load/charts.py", "load/scales.py", "load/chart_page.py"}
IMPURE_IMPORTS = {"time", "socket", "select", "os", "twisted", "subprocess", "threading"}


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports_of(path: Path, *, module_level_only: bool = False) -> Iterator[str]:
    """Dotted names a module imports; ``from a import b`` gives ``a.b``. Imports for type checking only are left out."""
    tree = ast.parse(path.read_text())
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def is_pure(path: Path) -> bool:
    return room_of(path) in PURE_ROOMS or relative(path) in PURE_FILES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_from_its_left(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        if name.split(".")[0] != "ctrlserver":
            continue
        target = ([*name.split("."), ""])[1]
        target = target if target in FLOOR else ""
        if target in (room, "") or (room, target) in NEIGHBOURS:
            continue
        assert FLOOR[target] < FLOOR[room], f"{relative(path)} imports {name}: that is to its right"


@pytest.mark.parametrize("path", [*MODULES, *(ROOT / "twisted").rglob("*.py")], ids=lambda path: path.name)
def test_no_module_imports_a_reactor_when_it_is_imported(path: Path) -> None:
    for name in imports_of(path, module_level_only=True):
        assert name != "twisted.internet.reactor", f"{path.name} imports the reactor at module level"


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(path)], ids=relative)
def test_a_pure_module_knows_no_clock_no_socket_and_no_twisted(path: Path) -> None:
    for name in imports_of(path):
        assert name.split(".")[0] not in IMPURE_IMPORTS, f"{relative(path)} is pure and imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_opens_with_its_purpose_and_is_read_in_one_go(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{relative(path)} has no docstring"
    assert text.count("\n") <= 600, f"{relative(path)} is longer than 600 lines"


def test_every_room_is_on_the_plan() -> None:
    assert {room_of(path) for path in MODULES} <= set(FLOOR)


def test_twisted_stays_a_package_of_its_own() -> None:
    assert not list((ROOT / "twisted").rglob("__init__.py"))
