"""The house rules that a machine can check, read from the imports with ``ast``."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ctrlserver"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A room may import rooms of a lower number only; rooms of one number do not know each other. Rooms of load are rooms.
FLOOR = {
    "": 0,
    "errors": 0,
    "words": 0,
    "addresses": 0,
    "commands": 0,
    "sleeping": 0,
    "farewell": 0,
    "terminal": 0,
    "looks": 1,
    "secret": 1,
    "units": 1,
    "logs": 1,
    "wire": 2,
    "stats": 2,
    "inject": 2,
    "client": 3,
    "console": 3,
    "render": 3,
    "config": 3,
    "linux": 3,
    "history": 3,
    "lane": 3,
    "desk": 3,
    "net": 4,
    "admin": 4,
    "overview": 4,
    "load/measure": 4,
    "load/results": 5,
    "load/plan": 6,
    "load/show": 6,
    "load/streams": 7,
    "load/opening": 8,
    "load/running": 9,
    "load/search": 10,
    "load/fleet": 10,
    "load/commands": 11,
    "load/cli": 12,
    "load/__main__": 13,
    "http": 5,
    "life": 6,
    "workers": 5,
    "service": 7,
    "tap": 8,
    "__main__": 9,
    "testing": 9,
}

# Said aloud, not by number. What load and server share stands to the left of both; what shows a run is given it.
NEVER = {("load", "net"), ("load", "admin"), ("load/show", "load/running")}
NEVER |= {("overview", room) for room in ("net", "admin", "load", "lane", "linux", "config", "desk")}

MOST_MODULES, MOST_LINES = 16, 400

# Longer modules, each with its most lines (500 and no more) and its reason: none.
LONGER: dict[str, tuple[int, str]] = {}

PURE_ROOMS = {"wire", "stats", "inject", "render", "load/plan", "load/measure"}
PURE_FILES = {
    "addresses.py",
    "commands.py",
    "words.py",
    "units.py",
    "admin/dialogue.py",
    "config/changes.py",
    "net/gate.py",
    "net/asking.py",
    "http/head.py",
    "http/connections.py",
    "http/accepting.py",
    "load/search/strategy.py",
    "workers/ports/seating.py",
    "workers/balance.py",
    "workers/snapshots.py",
    "workers/merging.py",
}
PURE_FILES |= {
    f"load/results/{name}.py" for name in ("thresholds", "comparison", "checking", "shapes", "shards", "merging")
}
PURE_FILES |= {f"load/results/{name}.py" for name in ("goals", "belonging", "merged_intervals", "judging", "records")}
PURE_FILES |= {f"load/results/checks/{name}.py" for name in ("counts", "times", "received", "goals")}
PURE_FILES |= {f"overview/{name}.py" for name in ("servers", "answers", "forms", "fitting", "completing")}
PURE_FILES |= {"overview/figures.py", "overview/top_view.py", "overview/kept/words.py", "overview/kept/diff.py"}
PURE_FILES |= {"load/fleet/telling.py", "load/fleet/summing.py", "load/fleet/placing.py"}
PURE_FILES |= {"load/show/charts.py", "load/show/chart_page.py"}
IMPURE_IMPORTS = {"time", "socket", "select", "os", "twisted", "subprocess", "threading"}


def room_of(path: Path) -> str:
    return room_named(path.relative_to(PACKAGE).with_suffix("").parts)


def room_named(parts: Sequence[str]) -> str:
    """The longest beginning that is a room."""
    names = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in FLOOR), "")


@cache
def imports_of(path: Path, *, module_level_only: bool = False) -> Sequence[str]:
    """Dotted names a module imports; ``from a import b`` gives ``a.b``. Imports for type checking only are left out."""
    names: list[str] = []
    waiting: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, f"{path}: relative import"
            names += [f"{node.module}.{name.name}" for name in node.names]
        waiting.extend(ast.iter_child_nodes(node))
    return names


def within(room: str, part: str) -> bool:
    return f"{room}/".startswith(f"{part}/")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_named(names: Sequence[str]) -> set[str]:
    """The modules of ours in which the imported names stand."""
    ours = {dotted(path) for path in MODULES}
    found = set()
    for name in names:
        found |= {name, name.rpartition(".")[0]} & ours
    return found


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
        target = room_named(name.split(".")[1:])
        if target in (room, ""):
            continue
        assert FLOOR[target] < FLOOR[room], f"{relative(path)} imports {name}: that is to its right"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_what_must_never_meet_does_not(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        target = room_named(name.split(".")[1:]) if name.startswith("ctrlserver.") else ""
        for here, there in NEVER:
            assert not (within(room, here) and within(target, there)), f"{relative(path)} imports {name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {dotted(path): modules_named(imports_of(path)) - {dotted(path)} for path in MODULES}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as circle:
        raise AssertionError(" is imported by ".join(circle.args[1])) from None


def test_a_folder_is_taken_in_at_a_glance() -> None:
    modules = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {} == {relative(folder): number for folder, number in modules.items() if number > MOST_MODULES}


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
    most, _ = LONGER.get(relative(path), (MOST_LINES, ""))
    assert text.count("\n") <= most, f"{relative(path)} is longer than {most} lines"


def test_at_most_two_modules_are_longer() -> None:
    assert len(LONGER) <= 2


# Rooms in which a class stays close to its base, and the most ancestors that it may have, of whatever room of ours.
FLAT_ROOMS = ("load/streams", "load/opening", "net")
MOST_ANCESTORS = 2


@cache
def bases_of_classes() -> dict[str, list[str]]:
    """Every class of ours by its dotted name, and those of its bases that are ours too."""
    found = {}
    for path in MODULES:
        imported = {name.rpartition(".")[2]: name for name in imports_of(path)}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                names = [ast.unparse(base).partition("[")[0] for base in node.bases]
                found[f"{dotted(path)}.{node.name}"] = [imported.get(name, f"{dotted(path)}.{name}") for name in names]
    return {name: [base for base in bases if base in found] for name, bases in found.items()}


@pytest.mark.parametrize("room", FLAT_ROOMS)
def test_a_class_inherits_from_one_class_at_a_time_and_two_levels_deep_at_most(room: str) -> None:
    bases = bases_of_classes()
    inside = [name for name in bases if room_named(name.split(".")[1:]) == room]
    assert inside, f"{room} has no classes"
    for name in inside:
        direct = bases[name]
        ancestors: list[str] = []
        while direct:
            assert len(direct) <= 1, f"{name} inherits from {' and '.join(direct)}, by way of {ancestors}"
            ancestors += direct
            direct = bases[direct[0]]
        assert len(ancestors) <= MOST_ANCESTORS, f"{name} inherits from {' < '.join(ancestors)}"


def test_every_room_is_on_the_plan() -> None:
    assert {room_of(path) for path in MODULES} <= set(FLOOR)


def test_twisted_stays_a_package_of_its_own() -> None:
    assert not list((ROOT / "twisted").rglob("__init__.py"))
