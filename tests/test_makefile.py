"""The Makefile: what it says when the environment cannot be made, and that it does nothing the second time.

Rules: each test has a folder of its own, with a space in its name, that holds the Makefile and the two files that the
environment depends on; no environment is made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder as make sees it before anything was made."""
    place = tmp_path / "a folder"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, place / name)
        os.utime(place / name, (1_000_000_000, 1_000_000_000))
    return place


def made(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs make as from a shell, not as a part of the make that may run these tests."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "PYTHON", "TEST_ARGS"))
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=inherited,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def program(folder: Path, script: str) -> str:
    """A shell script that stands where Python should."""
    path = folder / "some python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


@pytest.mark.parametrize("target", ["demo", "serve", "test", "lint", "bench", "constraints"])
def test_every_target_says_in_one_line_that_python_is_too_old(folder: Path, target: str) -> None:
    done = made(folder, target, program(folder, "exit 1"))
    assert 2 == done.returncode
    assert "is older than Python 3.11" in done.stderr.splitlines()[0]
    assert not (folder / ".venv").exists()


def test_a_python_that_is_not_there_is_named(folder: Path) -> None:
    done = made(folder, "test", "PYTHON=no-such-python")
    assert 2 == done.returncode
    assert "no-such-python was not found" in done.stderr.splitlines()[0]


def test_a_missing_ensurepip_names_the_debian_package(folder: Path) -> None:
    done = made(folder, "test", program(folder, f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'))
    assert 2 == done.returncode
    assert "Debian package python3-venv" in done.stderr.splitlines()[0]


@pytest.fixture
def ready(folder: Path) -> Path:
    """The folder with an environment that is newer than what it depends on."""
    (folder / ".venv").mkdir()
    (folder / ".venv" / ".made").write_text(f"{folder}\npython3\n")
    return folder


def test_the_second_time_only_the_work_itself_is_done(ready: Path) -> None:
    (command,) = made(ready, "-n", "test", "TEST_ARGS=-k some").stdout.splitlines()
    assert (".venv/bin/python -m pytest -n auto", "-k some") == (command[:34], command[-7:])


def test_changed_constraints_bring_the_environment_up_to_date(ready: Path) -> None:
    os.utime(ready / "constraints.txt")
    os.utime(ready / ".venv" / ".made", (1_500_000_000, 1_500_000_000))
    lines = made(ready, "-n", "test").stdout
    assert "pip" in lines
    assert 'test -z ""' in lines


@pytest.mark.parametrize("change", ["a moved folder", "another python"])
def test_an_environment_for_another_folder_or_python_is_made_anew(ready: Path, change: str) -> None:
    if change == "a moved folder":
        ready = ready.rename(ready.parent / "moved")
        lines = made(ready, "-n", "test").stdout
    else:
        lines = made(ready, "-n", "test", "PYTHON=python3.99").stdout
    assert 'test -z "yes"' in lines
    assert "-m venv --clear .venv" in lines


def test_targets_run_one_after_another_under_j(ready: Path) -> None:
    serial = made(ready, "-n", "lint", "test", "bench").stdout
    assert serial == made(ready, "-n", "-j8", "lint", "test", "bench").stdout


def test_constraints_are_plain_versions_and_leave_the_project_out() -> None:
    lines = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [] == [line for line in lines if line.count("==") != 1 or set(line) & set(" @/:;")]
    names = {line.partition("==")[0].lower() for line in lines}
    assert "ctrlserver" not in names
    assert names >= {"twisted", "attrs", "click", "rich", "pytest", "setuptools"}
