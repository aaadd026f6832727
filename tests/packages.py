"""The project as it is packaged: a copy of the source, the source distribution and the wheel made of it.

Rules: the checkout is never written to, and nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
TOP = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")
PARTS = (*TOP, "constraints.txt", "ctrlserver", "twisted", "tests", "docs", "etc", "benchmarks")
UNPACKAGED = ("__pycache__", "dropin.cache", "build", ".hypothesis")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def output_of(*command: str | Path, cwd: Path) -> str:
    """What the command prints on stdout and stderr together; it must exit with 0."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged."""
    copy = tmp_path_factory.mktemp("source")
    for part in PARTS:
        path = PROJECT / part
        if path.is_dir():
            shutil.copytree(path, copy / part, symlinks=True, ignore=shutil.ignore_patterns(*UNPACKAGED))
        else:
            shutil.copy(path, copy / part)
    return copy


@pytest.fixture(scope="session")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from the copy."""
    folder = tmp_path_factory.mktemp("sdist")
    output_of(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, as ``python -m build`` does."""
    folder = tmp_path_factory.mktemp("wheel")
    output_of(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sdist, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built
