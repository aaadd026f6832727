from __future__ import annotations

from pathlib import Path

import pytest

from ctrlserver.admin.commands.command import Command
from ctrlserver.admin.commands.page import MARK, page
from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.dialogue import MAX_LINE
from ctrlserver.admin.limits import Limits
from ctrlserver.admin.protocol import UNREAD

FILE = Path(__file__).resolve().parents[3] / "docs" / "admin-protocol.md"


def test_the_page_is_what_the_table_says() -> None:
    text = FILE.read_text()
    anew = "make it anew: python -m ctrlserver.admin.commands.page docs/admin-protocol.md"
    assert page(text) == text, anew


def test_what_stands_above_the_mark_is_kept() -> None:
    made = page(f"# By hand\n\n{MARK}\nold\n")
    assert made.startswith(f"# By hand\n\n{MARK}\n\n## Commands\n")
    assert "old" not in made.splitlines()
    assert made == page(made)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)
def test_an_example_is_of_its_own_command_and_answered_with_ok(command: type[Command]) -> None:
    _, example, rest = page(MARK).partition(f"> {command.example}\n")
    assert example
    assert command.example.startswith(command.command)
    assert rest.partition("\n```")[0].splitlines()[-1].startswith("OK ")


def test_the_bounds_in_the_page_are_the_servers() -> None:
    limits, words = Limits(), " ".join(FILE.read_text().partition(MARK)[0].split())
    assert f"at most {MAX_LINE:,} bytes".replace(",", " ") in words
    assert f"{limits.connections} connections at once, and {limits.spare} more through a unix socket" in words
    assert f"while {UNREAD // 1024} KiB of replies are unread" in words
    assert f"After {limits.stall_seconds:.0f} seconds without" in words
    assert f"After {limits.idle_seconds:.0f} seconds of silence" in words
    assert f"A line has {limits.line_seconds:.0f} seconds from its first byte" in words
    assert f"A TLS handshake has {limits.handshake_seconds:.0f} seconds" in words
