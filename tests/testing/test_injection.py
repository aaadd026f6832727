"""Injections as a test orders them, against the contract of the admin port, in a fake of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ctrlserver.testing import AdminError, RunningServer
from ctrlserver.testing.injection import answer_line, injection_line
from tests.testing.fake_admin import FakeAdmin, fake_admin

RESET = "inject data '2*reset->off'"
ROW = {"injection": 3, "listener": "data", "spec": "2*reset->off", "hits": 2, "active": True, "by": "127.0.0.1:5"}


@pytest.fixture
def fake() -> Iterator[FakeAdmin]:
    with fake_admin() as made:
        made.answers = {
            "config": {"listener": [{"name": "data", "endpoint": "tcp:0", "mode": "sink"}]},
            "listeners": [{"address": "127.0.0.1:9", "udp_address": None}],
            RESET: {"injection": 3},
            "inject off 3": {"off": 1, "hits": 5},
            "answer": [],
            "answer data when='PING' with='+PONG\\x0d\\x0a' times=2 delay=50ms": {"answer": 7},
            "answer off 7": {"off": 1, "hits": 2},
            "inject": [{**ROW, "injection": 2, "hits": 9, "by": "config"}, ROW],
            "inject all": [{**ROW, "injection": 2, "hits": 9}, ROW],
        }
        yield made


@pytest.fixture
def server(fake: FakeAdmin) -> RunningServer:
    made = RunningServer(fake.address)
    fake.asked.clear()
    return made


def test_an_injection_ends_with_its_block(fake: FakeAdmin, server: RunningServer) -> None:
    with server.inject("2*reset->off") as injection:
        assert 3 == injection.number
        assert [RESET] == fake.asked
    assert [RESET, "inject off 3"] == fake.asked


def test_an_injection_ends_when_its_block_raises(fake: FakeAdmin, server: RunningServer) -> None:
    with pytest.raises(KeyboardInterrupt), server.inject("2*reset->off"):
        raise KeyboardInterrupt
    assert "inject off 3" == fake.asked[-1]


def test_an_injection_without_a_block_goes_on_until_off(fake: FakeAdmin, server: RunningServer) -> None:
    injection = server.inject("2*reset->off")
    assert [RESET] == fake.asked
    injection.off()
    assert "inject off 3" == fake.asked[-1]


def test_an_injection_that_is_over_already_ends_without_an_error(fake: FakeAdmin, server: RunningServer) -> None:
    fake.answers["inject off 3"] = (404, "unknown-injection", "3")
    with server.inject("2*reset->off"):
        pass


def test_the_hits_of_an_injection_are_those_the_server_lists(server: RunningServer) -> None:
    injection = server.inject("2*reset->off")
    assert 2 == injection.hits
    assert "2*reset->off" == injection.record.spec
    injection.off()
    assert 5 == injection.hits


def test_the_options_of_an_injection_are_sent(fake: FakeAdmin, server: RunningServer) -> None:
    line = "inject data 'delay(exp 20ms)' for=1s streams=new peer=127.0.0.0/8 seed=7"
    fake.answers[line] = {"injection": 4}
    server.inject("delay(exp 20ms)", duration="1s", streams="new", peer="127.0.0.0/8", seed=7)
    assert [line] == fake.asked


def test_a_spec_with_quotes_stands_in_the_others(fake: FakeAdmin, server: RunningServer) -> None:
    fake.answers["inject data \"wrong('NO')\""] = {"injection": 5}
    assert 5 == server.inject("wrong('NO')").number


def test_a_spec_is_one_line_whatever_stands_in_it(fake: FakeAdmin, server: RunningServer) -> None:
    fake.answers["inject data \"wrong('NO\\x0d\\x0a')\""] = {"injection": 5}
    assert 5 == server.inject("wrong('NO\r\n')").number


def test_a_spec_that_the_server_refuses_raises_with_its_words(fake: FakeAdmin, server: RunningServer) -> None:
    fake.answers["inject data 'dealy'"] = (400, "bad-spec", '"dealy" at 1; did you mean "delay"?')
    with pytest.raises(AdminError, match='"dealy" at 1; did you mean "delay"') as raised:
        server.inject("dealy")
    assert (400, "bad-spec") == (raised.value.code, raised.value.id)


def test_what_was_ordered_ends_when_the_server_is_given_back(fake: FakeAdmin, server: RunningServer) -> None:
    server.inject("2*reset->off")
    server.calm()
    server.calm()
    assert [RESET, "inject off 3"] == fake.asked


def test_what_a_test_ended_itself_is_not_ended_again(fake: FakeAdmin, server: RunningServer) -> None:
    with server.inject("2*reset->off"):
        pass
    fake.asked.clear()
    server.calm()
    assert [] == fake.asked


def test_what_a_killed_test_run_has_left_ends_and_what_the_config_ordered_stays(fake: FakeAdmin) -> None:
    fake.answers["answer"] = [
        {"answer": number, "listener": listener, "by": by}
        for number, listener, by in ((7, "data", "127.0.0.1:5"), (8, "other", "127.0.0.1:5"), (9, "data", "config"))
    ]
    RunningServer(fake.address)
    assert ["config", "listeners", "inject", "inject off 3", "answer", "answer off 7"] == fake.asked


def test_an_answer_is_sent_with_its_bytes_escaped_and_ends_with_its_block(
    fake: FakeAdmin, server: RunningServer
) -> None:
    with server.answer("PING", "+PONG\r\n", times=2, delay="50ms") as answer:
        assert 7 == answer.number
    assert "answer off 7" == fake.asked[-1]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (r"/^get (\d+)/", r"/^get (\d+)/"),
        ("it's", r"it\x27s"),
        (b"a\xff", r"\x61\xff"),
        (r"OK\r\n", r"OK\r\n"),
    ],
)
def test_a_text_of_an_answer_stands_in_single_quotes(given: str | bytes, sent: str) -> None:
    assert f"answer data when='{sent}' with=''" == answer_line("data", given, "")


def test_an_order_has_one_kind_of_quote() -> None:
    with pytest.raises(ValueError, match="one kind of quote"):
        injection_line("data", "wrong('\"')")
