"""Conditional answers of a data plane: ordered, configured, and what a reload makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_twisted

from ctrlserver.config import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.inject.rules import Rule
from ctrlserver.net.plane import DataPlane
from tests.net.conftest import in_thread
from tests.net.test_plane import LOOPBACK, connected, plane_of
from tests.runs import reached

PING = Rule("PING", "configured")


def listener(*answers: Rule, mode: str = "reply", reply: str = "?") -> ListenerConfig:
    return ListenerConfig(endpoint=LOOPBACK, mode=mode, framing="line", reply=reply, answers=answers)


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    plane, _ = plane_of(listener(PING), ListenerConfig(name="sink", endpoint=LOOPBACK))
    plane.bind()
    yield plane
    pytest_twisted.blockon(plane.stop_listening())
    plane.drain()
    plane.stop()


@pytest_twisted.ensureDeferred
async def test_what_is_ordered_answers_before_what_is_configured_and_a_reload_replaces_the_latter(
    plane: DataPlane,
) -> None:
    def ask(line: bytes) -> bytes:
        client.sendall(line)
        return client.recv(100)

    with connected(plane, 0) as client:
        await reached(lambda: len(list(plane.streams())) == 1)
        (before,) = plane.streams()
        assert b"configured" == await in_thread(ask, b"PING\n")
        ordered = plane.answer("data", Rule("PING", "ordered", times=1))
        assert [b"ordered", b"configured"] == [await in_thread(ask, b"PING\n") for _ in range(2)]
        await plane.prepare([listener(Rule("PING", "new")), ListenerConfig(name="sink", endpoint=LOOPBACK)]).put()
        assert [before] == list(plane.streams())
        assert b"new" == await in_thread(ask, b"PING\n")
        assert [ordered.number, 3] == [each.number for each in plane.rules.all()]
        plane.rules.end()
        assert b"?" == await in_thread(ask, b"PING\n")


@pytest_twisted.ensureDeferred
async def test_rules_end_where_a_reload_makes_their_listener_one_that_does_not_reply(plane: DataPlane) -> None:
    plane.answer("data", PING)
    with connected(plane, 0):
        await reached(lambda: len(list(plane.streams())) == 1)
        await plane.prepare([listener(mode="echo")]).put()
        assert [] == plane.rules.all()
        assert plane.listeners[0].terms.answers is not plane.retired[0].terms.answers


@pytest_twisted.ensureDeferred
async def test_a_plane_that_was_stopped_and_begins_again_has_only_what_its_config_orders(plane: DataPlane) -> None:
    plane.answer("data", Rule("PING", "ordered"))
    await plane.stop_listening()
    plane.stop()
    assert [] == plane.rules.all()
    plane.bind()
    assert ["configured"] == [each.rule.answer for each in plane.rules.all()]


def test_an_answer_of_an_unknown_listener_or_of_one_that_does_not_reply_is_refused(plane: DataPlane) -> None:
    for name, code, why in (("dota", 404, 'no listener "dota"; did you mean "data"'), ("sink", 409, "is a sink")):
        with pytest.raises(InjectionError, match=why) as refused:
            plane.answer(name, PING)
        assert code == refused.value.code
