from __future__ import annotations

import pytest

from ctrlserver.admin.arguments import MOST, Choice, Number, Text, bind, usage
from ctrlserver.errors import CommandError
from tests.admin.conftest import Peer

PARAMETERS = (
    Choice("state", "open|closed", ("open", "closed")),
    Text("peer", "peer=TEXT", positional=False),
    Number("limit", "limit=N", least=1, positional=False),
)


def refusal(*words: str) -> tuple[int, str, str]:
    with pytest.raises(CommandError) as caught:
        bind("streams", PARAMETERS, words)
    return caught.value.code, caught.value.id, caught.value.message


def test_arguments_come_by_position_or_by_name_in_any_order() -> None:
    expected = {"state": "open", "limit": 5, "peer": "a=b"}
    assert expected == bind("streams", PARAMETERS, ["open", "limit=5", "peer=a=b"])
    assert expected == bind("streams", PARAMETERS, ["LIMIT=5", "peer=a=b", "STATE=Open"])
    assert {} == bind("streams", PARAMETERS, [])


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("1e3", "did you mean limit=1000?"),
        ("1_000", "did you mean limit=1000?"),
        ("+5", "did you mean limit=5?"),
        ("-5", "did you mean limit=1?"),
        ("5.0", "did you mean limit=5?"),
        ("5k", "did you mean limit=5000?"),
        ("٣", ""),
        ("0x10", "the least is 1"),
        ("nan", "the least is 1"),
        ("inf", "the least is 1"),
        ("1e99", f"did you mean limit={MOST}?"),
        ("", "the least is 1"),
        ("abc", "the least is 1"),
        ("²", "the least is 1"),
    ],
)
def test_a_number_is_digits_and_nothing_else(text: str, nearest: str) -> None:
    code, id, message = refusal(f"limit={text}")
    assert (400, "bad-argument") == (code, id)
    assert message.startswith("limit ")
    assert "whole number" in message
    assert message.endswith(nearest)


def test_a_number_has_bounds_and_the_nearest_good_one_is_named() -> None:
    assert refusal("limit=0")[2].endswith("at least 1")
    assert refusal("limit=99999999999999999999")[2].endswith(f"at most {MOST}")
    assert 400 == refusal("limit=" + "9" * 5000)[0]
    assert {"limit": MOST} == bind("streams", PARAMETERS, [f"limit={MOST}"])


def test_an_argument_given_twice_is_refused() -> None:
    assert "duplicate-argument" == refusal("limit=1", "limit=1")[1]
    assert "duplicate-argument" == refusal("open", "closed")[1]
    assert refusal("open", "state=open")[2].startswith("state is given twice")


def test_an_unknown_argument_is_refused_with_the_nearest_one() -> None:
    assert (400, "unknown-argument") == refusal("limt=5")[:2]
    assert refusal("limt=5")[2].endswith('did you mean "limit="?')
    assert refusal("open", "5")[2].endswith("usage: streams [open|closed] [peer=TEXT] [limit=N]")


def test_a_bad_choice_names_the_good_ones() -> None:
    assert 'state "opne": expected open or closed; did you mean "open"?' == refusal("opne")[2]


def test_a_missing_argument_is_named_with_the_usage() -> None:
    with pytest.raises(CommandError) as caught:
        bind("kick", (Number("stream", "STREAM", required=True),), [])
    assert "missing-argument" == caught.value.id
    assert '"kick" needs STREAM; usage: kick STREAM; "help kick" says more' == caught.value.message


@pytest.mark.parametrize("text", ["", "x" * 101, "a\u200bb", "\u202e"])
def test_a_text_is_printable_and_not_long(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        Text("name", "NAME").read(text)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_a_rest_takes_all_words() -> None:
    assert {"topic": "run start"} == bind("help", (Text("topic", "COMMAND", rest=True),), ["run", "start"])


def test_the_usage_shows_what_may_be_left_out() -> None:
    assert "packets STREAM [limit=N]" == usage("packets", (Number("stream", "STREAM", required=True), PARAMETERS[2]))


# Quotes, and words out of place


def test_a_number_out_of_place_is_the_next_argument_that_takes_one(peer: Peer) -> None:
    for line in ("streams 5", "streams 5 open", "streams closed 5", "runs 5", "peers 5"):
        assert ["OK 0"] == peer.asks(line), line
    assert ["OK 0"] == peer.asks("streams limit=5 open")
    assert peer.asks("streams opne")[0].endswith('did you mean "open"?')
    assert "is given twice" in peer.asks("streams open closed")[0]
