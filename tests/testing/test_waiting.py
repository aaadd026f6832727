"""What ``wait`` is given, and what it asks of the server."""

from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.testing import AdminError, NotReached
from ctrlserver.testing.admin import AdminPort
from ctrlserver.testing.since import Since
from ctrlserver.testing.waiting import conditions_of, waiting
from tests.testing.fake_admin import fake_admin


def test_a_field_is_equal_to_its_number_unless_its_ending_says_otherwise() -> None:
    given = {"packets": 100, "bytes__ge": 5, "streams_open__ne": 0, "faults_total__lt": 2}
    expected = [("packets", "==", "100"), ("bytes", ">=", "5"), ("streams_open", "!=", "0"), ("faults_total", "<", "2")]
    assert expected == conditions_of([], dict(given))


def test_a_condition_may_be_text() -> None:
    assert [("run.packets", ">=", "3"), ("a", "==", "5k")] == conditions_of(["run.packets>=3", "a == 5k"], {})


@pytest.mark.parametrize("text", ["packets", "packets=3", "packets>=", "a b>3", ""])
def test_text_that_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected FIELD OP NUMBER"):
        conditions_of([text], {})


@pytest.mark.parametrize("fields", [{"packets__more": 1}, {"packets": "1"}, {}])
def test_keywords_that_are_no_condition_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        conditions_of([], fields)


def test_a_total_is_meant_since_the_beginning() -> None:
    since = Since({"replies_total": 40, "streams_total": 7, "packets": 9})
    assert "replies_total>=42" == since.condition("replies_total", ">=", "2")
    assert "replies_total>=1000040" == since.condition("replies_total", ">=", "1M")
    assert "packets>=2" == since.condition("packets", ">=", "2")
    assert "stream.8.packets>=2" == since.condition("stream.1.packets", ">=", "2")


def test_streams_and_runs_are_numbered_from_one_since_the_beginning() -> None:
    since = Since({"streams_total": 7, "runs_total": 2})
    rows: list[dict[str, Any]] = [{"stream": 9, "run": 3}, {"stream": 8, "run": None}, {"stream": 7, "run": 2}]
    assert [{"stream": 1, "run": None}, {"stream": 2, "run": 1}] == [dict(row) for row in since.rows(rows, "stream")]


def test_several_conditions_hold_in_one_record() -> None:
    with fake_admin() as fake:
        dialogue = waiting(conditions_of([], {"packets": 3, "bytes__ge": 9}), Since(), 0.0)
        for command in ("wait packets==3 timeout=0.000s", "wait bytes>=9 timeout=0.000s"):
            fake.answers[command] = {}
        fake.answers["stats"] = {"packets": 4, "bytes": 9}
        with pytest.raises(NotReached, match=r"packets==3 .*, it is 4"):
            AdminPort(fake.address).run(dialogue)


def test_what_does_not_come_raises_with_the_servers_record() -> None:
    with fake_admin() as fake:
        fake.answers["wait packets==3 timeout=0.000s"] = (408, "timeout", "packets is 2")
        fake.answers["stats"] = {"packets": 2, "faults_total": 0, "bytes": 7}
        with pytest.raises(
            AssertionError, match=r"packets==3 .* within 0 s, it is 2\n.*\n  packets 2\n  bytes 7$"
        ) as raised:
            AdminPort(fake.address).run(waiting(conditions_of([], {"packets": 3}), Since(), 0.0))
        assert isinstance(raised.value, NotReached)
        assert 2 == raised.value.record.packets


def test_another_refusal_is_the_servers_own() -> None:
    with fake_admin() as fake, pytest.raises(AdminError, match="unknown-command"):
        AdminPort(fake.address).run(waiting(conditions_of([], {"pakets": 3}), Since(), 0.0))


def test_a_port_that_does_not_answer_is_named() -> None:
    with fake_admin() as fake:
        pass
    with pytest.raises(AdminError, match=f"127.0.0.1:{fake.address[1]}"):
        AdminPort(fake.address).ask("ping")
