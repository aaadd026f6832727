from __future__ import annotations

import pytest

from ctrlserver.admin.commands.table import COMMANDS, usage_of
from ctrlserver.overview.completing import vocabulary_of

WORDS = vocabulary_of(
    [{"command": each.command, "usage": usage_of(each)} for each in COMMANDS],
    [{"name": "packets"}, {"name": "packets_total"}, {"name": "peer"}],
)


@pytest.mark.parametrize(
    ("before", "begun", "offered"),
    [
        ("", "sta", ["stats "]),
        ("", "STA", ["stats "]),
        ("run ", "st", ["start ", "stop "]),
        ("help ", "kic", ["kick "]),
        ("help run ", "sto", ["stop "]),
        ("streams ", "lim", ["limit="]),
        ("streams ", "op", ["open "]),
        ("streams limit=5 ", "lim", []),
        ("run start soak ", "ex", ["expect="]),
        ("stats ", "packets", ["packets ", "packets_total "]),
        ("wait ", "pe", ["peer "]),
        ("kick ", "p", []),
        ("nonsense ", "p", []),
    ],
)
def test_tab_offers_what_the_server_knows(before: str, begun: str, offered: list[str]) -> None:
    assert offered == WORDS.offered(before, begun)


def test_all_commands_are_offered_at_first() -> None:
    assert {each.command.split()[0] for each in COMMANDS} == {word.strip() for word in WORDS.offered("", "")}


@pytest.mark.parametrize("rows", [None, {}, ["x"], [{"usage": "x"}], [{"command": ""}]])
def test_a_help_that_is_none_offers_nothing(rows: object) -> None:
    assert [] == vocabulary_of(rows, rows).offered("", "")
