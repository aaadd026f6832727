from __future__ import annotations

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.overview.kept.words import check_export, resolved, two_runs, with_number

NOW = 1_795_000_000.0


def test_how_long_ago_is_made_a_time_and_any_other_word_is_left() -> None:
    given = ["since=2d", "until=90m", "since=2026-11-26", "until=1795000000", "name=2d"]
    expected = ["since=2026-11-16T11:06:40.000Z", "until=2026-11-18T09:36:40.000Z", *given[2:]]
    assert expected == resolved(given, NOW)


def test_the_number_of_a_run_is_asked_for_though_other_fields_were_chosen() -> None:
    assert (["since=1h", "fields=name,state,run"], True) == with_number(["since=1h", "fields=name,state"], "run")
    for words in (["Fields=no,name"], ["name=run"], []):
        assert (words, False) == with_number(words, "no")


@pytest.mark.parametrize("word", ["soak", "limit=5", "before=3"])
def test_a_word_that_chooses_no_runs_is_told(word: str) -> None:
    check_export(["since=2d", "label=site:lab", "fields=run,name"])
    with pytest.raises(UsageError, match=f'export: "{word}": expected since=TIME'):
        check_export([word])


@pytest.mark.parametrize("words", [[], ["1"], ["1", "x"], ["1", "2", "3"], ["-1", "2"]])
def test_a_diff_is_of_two_runs(words: list[str]) -> None:
    assert ("1", "2") == two_runs(["1", "2"])
    with pytest.raises(UsageError, match="expected the numbers of two runs"):
        two_runs(words)
