"""The pages people read, taken apart: their blocks and their commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DAEMON = ROOT / "docs" / "daemon.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md"))]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, *kinds: str) -> list[str]:
    """The texts between fences of one of these kinds; a fence without a word is of kind ""."""
    found: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for kind, text in found if kind in kinds]


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Each command in its ``console`` blocks, with the lines it must print."""
    found: list[tuple[str, list[str]]] = []
    for text in blocks(page, "console"):
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found
