from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.load.commands.group import exit_code
from tests.load.command_line import refused
from tests.load.documents import changed
from tests.load.results.made import document


def written(folder: Path, name: str, result: dict[str, Any]) -> str:
    path = folder / name
    path.write_text(json.dumps(result))
    return str(path)


def test_each_file_has_a_line_and_the_exit_code_is_1_if_one_is_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good = written(tmp_path, "good.json", document())
    bad = written(tmp_path, "bad.json", changed(document(), sent__packets=1))
    odd = written(tmp_path, "odd.json", changed(document(), sent__packets="x"))
    assert 0 == exit_code(["check", good, good], Interrupts())
    assert f"{good}: agrees with itself\n" * 2 == capsys.readouterr().out
    assert 1 == exit_code(["check", bad, good, odd], Interrupts())
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{bad}: contradicts itself: intervals have ")
    assert f"{good}: agrees with itself" == second
    assert f'{odd}: contradicts itself: sent.packets is "x", expected a whole number' == third


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "RESULT.json is missing: ctrlload check RESULT.json..."),
        ("resul.json", 'resul.json: cannot be read: No such file or directory; did you mean "result.json"?'),
        ("empty.json", "empty.json: no result of ctrlload: the file is empty"),
    ],
)
def test_a_file_that_is_no_result_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, words: str
) -> None:
    written(tmp_path, "result.json", document())
    (tmp_path / "empty.json").touch()
    assert refused(capsys, "check", *([str(tmp_path / name)] if name else [])).endswith(words)


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == exit_code(["check", "--help"], Interrupts())
    assert "ctrlload check result.json\n" in capsys.readouterr().out
