"""The client of the admin port: which connection it asks over."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from ctrlserver.testing import AdminError, admin
from ctrlserver.testing.admin import AdminPort, Dialogue, asked
from tests.testing.fake_admin import FakeAdmin, fake_admin


@pytest.fixture
def fake() -> Iterator[FakeAdmin]:
    with fake_admin() as made:
        made.answers = {"one": 1, "two": 2}
        yield made


@pytest.fixture
def port(fake: FakeAdmin) -> Iterator[AdminPort]:
    made = AdminPort(fake.address)
    yield made
    made.hang_up()


def test_each_question_has_a_connection_of_its_own(fake: FakeAdmin, port: AdminPort) -> None:
    assert (1, 2, 1) == (port.ask("one"), port.run_often(asked("two")), port.ask("one"))
    assert 3 == len(fake.connections)


def test_what_is_asked_often_is_asked_over_one_connection(fake: FakeAdmin, port: AdminPort) -> None:
    assert [1, 2, 1] == [port.run_often(asked(word)) for word in ("one", "two", "one")]
    assert 1 == len(fake.connections)


def test_a_connection_that_was_hung_up_is_closed(fake: FakeAdmin, port: AdminPort) -> None:
    port.run_often(asked("one"))
    port.hang_up()
    assert fake.ended.wait(30)
    assert 2 == port.run_often(asked("two"))
    assert 2 == len(fake.connections)


def test_a_connection_that_the_server_has_ended_is_not_used_again(fake: FakeAdmin, port: AdminPort) -> None:
    port.run_often(asked("one"))
    fake.connections[0].shutdown(socket.SHUT_RDWR)
    assert 2 == port.run_often(asked("two"))
    assert 2 == len(fake.connections)


def test_a_connection_is_kept_by_one_thread_at_a_time_and_no_more_than_one(fake: FakeAdmin, port: AdminPort) -> None:
    def twice() -> Dialogue[tuple[int, int]]:
        one = yield from asked("one")
        assert 1 == port.run_often(asked("one"))  # as another thread meanwhile
        return one, (yield from asked("two"))

    assert (1, 2) == port.run_often(twice())
    assert fake.ended.wait(30)
    assert 1 == port.run_often(asked("one"))
    assert 2 == len(fake.connections)


def test_a_connection_whose_answer_comes_too_late_is_not_used_again(
    fake: FakeAdmin, port: AdminPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = threading.Event()

    class Late(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            assert key != "one" or late.wait(30)
            return super().get(key, default)

    fake.answers = Late(fake.answers)
    with monkeypatch.context() as patched:
        patched.setattr(admin, "PATIENCE", 0.01)
        with pytest.raises(AdminError, match="no answer: timed out"):
            port.run_often(asked("one"))
    late.set()
    assert 2 == port.run_often(asked("two"))


def test_a_forked_process_has_a_connection_of_its_own(
    fake: FakeAdmin, port: AdminPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    port.run_often(asked("one"))
    parent = os.getpid()
    with monkeypatch.context() as patched:
        patched.setattr("os.getpid", lambda: parent + 1)
        assert 2 == port.run_often(asked("two"))
    assert 1 == port.run_often(asked("one"))
    assert 2 == len(fake.connections)
