"""Every line that the server logs has a name for its event, by which programs find it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import DAEMON
from tests.test_architecture import MODULES, relative

#: ctrlload writes no log.
SERVER = [path for path in MODULES if not relative(path).startswith("load/")]
LEVELS = {"debug", "info", "warn", "error", "failure", "critical"}


def lines_logged(path: Path) -> Iterator[ast.Call]:
    """The calls of a logger; one may be put off, as the first argument of another call."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and any(map(is_of_a_logger, (call.func, *call.args[:1]))):
            yield call


def is_of_a_logger(node: ast.expr) -> bool:
    if not isinstance(node, ast.Attribute) or node.attr not in LEVELS:
        return False
    return ast.unparse(node.value).rpartition(".")[2] in ("log", "told")


@pytest.mark.parametrize("path", SERVER, ids=relative)
def test_a_line_that_is_logged_has_a_short_name_for_its_event(path: Path) -> None:
    for call in lines_logged(path):
        event = next((each.value for each in call.keywords if each.arg == "event"), None)
        assert isinstance(event, ast.Constant), f"{relative(path)}:{call.lineno} logs a line without event="
        name = str(event.value)
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name), name
        assert f"`{name}`" in DAEMON.read_text(), f"the page on the daemon does not say what {name} is"


def test_the_lines_of_the_server_are_found() -> None:
    assert 30 < sum(len(list(lines_logged(path))) for path in SERVER)
