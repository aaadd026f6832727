"""The command line without a server: usage errors, help, what a shell completes."""

from __future__ import annotations

from pathlib import Path

import pytest

import ctrlserver
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.overview.command import exit_code


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command line refuses ``arguments``."""
    assert 2 == exit_code(arguments, Interrupts())
    captured = capsys.readouterr()
    assert "" == captured.out
    assert captured.err.startswith("ctrlstat: ")
    assert 1 == captured.err.count("\n")
    return captured.err.removeprefix("ctrlstat: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "lab1",
            '"lab1" is neither a server (HOST:PORT, the path of a unix socket, a name in --servers) nor a command',
        ),
        ("a:1 --jsn", 'unknown option "--jsn"; did you mean "--json"?'),
        ("a:1 --json --csv", "--csv: not with --json"),
        ("a:1 --timeout 0", "--timeout: must be more than 0"),
        ("a:1 --timeout 5x", '--timeout: duration "5x"'),
        ("--servers /no/such", '--servers: cannot read "/no/such": No such file or directory'),
        ("--auth-file /no/such", '--auth-file: cannot read "/no/such": No such file or directory'),
        ("x:y:z", '"x:y:z" is neither HOST:PORT nor a Twisted client endpoint'),
        ("/" + "x" * 120, "the path of a unix socket has at most 107 bytes"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: str, words: str) -> None:
    assert words in refused(capsys, *arguments.split())


def test_a_secret_that_others_can_read_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("correct horse battery")
    (tmp_path / "secret").chmod(0o644)
    assert "has mode 0644, and others may use it" in refused(capsys, "a:1", "--auth-file", str(tmp_path / "secret"))


def test_help_and_version_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == exit_code(["--version"], Interrupts())
    assert f"ctrlstat {ctrlserver.__version__}\n" == capsys.readouterr().out
    assert 0 == exit_code(["-h"], Interrupts())
    told = capsys.readouterr().out
    assert all(flag in told for flag in ("--servers", "--auth-file", "--timeout", "--json", "--csv"))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ctrlstat stre", ["plain,streams"]),
        ("ctrlstat a:1 sta", ["plain,stats"]),
        ("ctrlstat --servers LABS la", ["plain,lab1", "plain,lab2"]),
        ("ctrlstat --servers /no/such la", []),
        ("ctrlstat --js", ["plain,--json"]),
        ("ctrlstat --servers /e", ["file,/e"]),
    ],
)
def test_a_shell_completes_servers_commands_and_flags(
    words: str,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "labs.txt").write_text("lab1 = a:1\nlab2 = b:1\n")
    monkeypatch.setenv("_CTRLSTAT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words.replace("LABS", str(tmp_path / "labs.txt")))
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        exit_code([], Interrupts())
    assert offered == capsys.readouterr().out.split()
