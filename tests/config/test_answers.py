"""The key ``answers`` of a listener: good ones become rules, wrong ones are told with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctrlserver.config import load_config
from ctrlserver.config.changes import differences
from ctrlserver.config.shown import as_tables
from ctrlserver.errors import ConfigError
from ctrlserver.inject.rules import Rule

GOOD = r"""
[[listener]]
mode = "reply"
framing = "line"
answers = [
    {when = "connect", with = '220 ready\r\n'},
    {when = "/^EHLO/", with = '250 hello\r\n', times = 2, delay = "200ms"},
]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ctrl.toml"
    path.write_text(text)
    return path


def test_rules_are_read_shown_as_they_were_written_and_told_where_they_change(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    first, second = Rule("connect", r"220 ready\r\n"), Rule("/^EHLO/", r"250 hello\r\n", 2, 0.2)
    assert (first, second) == config.listeners[0].answers
    tables: Any = as_tables(config)
    assert {"when": "/^EHLO/", "with": r"250 hello\r\n", "times": 2, "delay": 0.2} == tables["listener"][0]["answers"][
        1
    ]
    (line,) = differences(config, load_config(written(tmp_path, GOOD.replace("times = 2, ", ""))))
    assert 'when "/^EHLO/" with "250 hello\\\\r\\\\n" times 2 delay 0.2] -> [' in line


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("3", "answers: 3: expected an array of tables such as {when = "),
        ('["PING"]', 'answers[0]: "PING": expected a table such as {when = '),
        ('[{when = "PING"}]', 'answers[0]: expected the key "with"'),
        ('[{when = 1, with = "x"}]', "answers[0].when: 1: expected a text"),
        ('[{when = "a", with = "b", whith = "x"}]', 'answers[0].whith: unknown key; did you mean "with"?'),
        ('[{when = "a", with = "b"}, {when = "/(/", with = "b"}]', 'answers[1]: when "/(/": missing )'),
        ('[{when = "a", with = "b", times = 0}]', "answers[0].times: 0: expected at least 1"),
        ('[{when = "a", with = "b", delay = "2h"}]', 'answers[0].delay: "2h": expected a duration of at most "1h"'),
        ('[{when = "a", with = "b", delay = "2x"}]', 'answers[0].delay: duration "2x": expected'),
    ],
)
def test_a_wrong_one_is_told_with_its_place(tmp_path: Path, value: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, f'[[listener]]\nmode = "reply"\nframing = "line"\nanswers = {value}\n'))
    assert f"ctrl.toml: listener[0].{told}" in str(caught.value)


def test_a_listener_that_does_not_reply_has_no_answers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, """[[listener]]\nanswers = [{when = "a", with = "b"}]\n"""))
    assert 'listener[0].answers: an answer needs mode "reply"; listener "data" is a sink' in str(caught.value)
