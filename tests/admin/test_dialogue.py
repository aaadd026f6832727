from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctrlserver.admin.dialogue import INTERRUPT, MAX_LINE, MORE, PIECES, Answer, Dialogue, Event, Fault, Request


def events_of(chunks: Sequence[bytes], *, finished: bool = False) -> list[Event]:
    dialogue = Dialogue()
    events: list[Event] = []
    for chunk in chunks:
        dialogue.receive(chunk)
        events += calls_of(dialogue)
    if finished:
        dialogue.finish()
        events += calls_of(dialogue)
    return [event for event in events if event is not MORE]


def calls_of(dialogue: Dialogue) -> list[Event]:
    """What each call of ``next_event`` returns, up to the first None."""
    return list(iter(dialogue.next_event, None))


def summary(events: Sequence[Event]) -> list[object]:
    """Faults compare by their error's identity; here by its words."""
    return [
        (event.error.code, event.error.id, event.error.message, event.json, event.closes)
        if isinstance(event, Fault)
        else event
        for event in events
    ]


def fault_of(octets: bytes, *, finished: bool = False) -> Fault:
    (event,) = events_of([octets], finished=finished)
    assert isinstance(event, Fault)
    return event


# Lines


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0\n", b"\r\r\n"])
def test_a_line_ends_with_lf_or_crlf_also_as_telnet_writes_it(end: bytes) -> None:
    assert [Request(("stats", "pack"))] == events_of([b"stats pack" + end])


@pytest.mark.parametrize("octets", [b"\n", b"\r\n", b"  \t\r\n", b"\n\n\r\n"])
def test_an_empty_line_says_nothing(octets: bytes) -> None:
    assert [] == events_of([octets], finished=True)


def test_words_are_parted_by_blanks_and_tabs() -> None:
    assert [Request(("run", "start", "é"))] == events_of(["  run \t start  é \n".encode()])


def test_a_no_break_space_is_part_of_a_word() -> None:
    assert [Request(("a\u00a0b",))] == events_of(["a\u00a0b\n".encode()])


def test_json_is_the_form_before_named_arguments_too() -> None:
    assert events_of([b"streams open json limit=5 peer=a\nrename json a\n"]) == [
        Request(("streams", "open", "limit=5", "peer=a"), json=True),
        Request(("rename", "json", "a")),
    ]


def test_the_last_word_json_is_the_form() -> None:
    lines = b"stats json\nstats JSON\njson stats\njson\n"
    expected = [
        Request(("stats",), json=True),
        Request(("stats",), json=True),
        Request(("json", "stats")),
        Request(("json",), json=True),
    ]
    assert expected == events_of([lines])


def test_a_last_line_without_its_end_is_marked() -> None:
    assert [Request(("a",)), Request(("stats",), json=True, ended=False)] == events_of(
        [b"a\nstats json"], finished=True
    )


def test_nothing_is_said_of_a_line_begun_before_the_end() -> None:
    assert [] == events_of([b"stats"])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0\n"])
def test_a_line_of_the_longest_length_is_taken(end: bytes) -> None:
    assert [Request(("x" * MAX_LINE,)), Request(("ping",))] == events_of([b"x" * MAX_LINE + end + b"ping\n"])


def test_a_line_of_one_byte_more_is_refused_once_and_its_rest_is_dropped() -> None:
    events = events_of([b"x" * (MAX_LINE + 1), b"y" * 5000, b"json\nping\n"])
    assert 2 == len(events)
    assert isinstance(events[0], Fault)
    assert (413, "line-too-long") == (events[0].error.code, events[0].error.id)
    assert "1024" in events[0].error.message
    assert Request(("ping",)) == events[1]


def test_what_is_held_of_an_endless_line_is_bounded() -> None:
    dialogue = Dialogue()
    for _ in range(100):
        dialogue.receive(b"x" * 65536)
        calls_of(dialogue)
        assert len(dialogue._line) + len(dialogue._held) - dialogue._at <= MAX_LINE + 2


def test_blank_padding_does_not_excuse_a_long_line() -> None:
    assert 413 == fault_of(b" " * (MAX_LINE + 1)).error.code
    assert 413 == fault_of(b"\r\0" * (MAX_LINE + 3)).error.code


@pytest.mark.parametrize(
    "octets", [b"st\xc3\x28ts\n", b"\xc3\n", b"x\x80\n", b"stats \xff\n", b"\xff\xfe\n", b"\xff\xff\n"]
)
def test_invalid_utf8_is_a_fault_of_its_line_only(octets: bytes) -> None:
    fault, request = events_of([octets + b"ping\n"])
    assert isinstance(fault, Fault)
    assert (400, "invalid-utf8", False) == (fault.error.code, fault.error.id, fault.closes)
    assert Request(("ping",)) == request


@pytest.mark.parametrize("octets", [b"\xff", b"\xff\xfd", b"stats \xff\xfa"[:-1]])
def test_half_a_telnet_sequence_at_the_end_is_invalid_utf8(octets: bytes) -> None:
    assert "invalid-utf8" == fault_of(octets, finished=True).error.id


def test_a_fault_knows_whether_its_line_asked_for_json() -> None:
    assert fault_of(b"st\x80ts json\n").json
    assert not fault_of(b"json st\x80ts\n").json


CONTROLS = [octet for octet in (*range(0x20), 0x7F) if octet not in b"\t\r\n"]


@pytest.mark.parametrize("octet", CONTROLS)
def test_a_control_byte_is_refused_at_once_and_nothing_after_it_is_read(octet: int) -> None:
    for before in (b"", b"sta", b"x" * 2000, b"\xff\xf1"):
        *_, fault = events_of([before + bytes((octet,)), b"ts\nreset\n"], finished=True)
        assert isinstance(fault, Fault)
        assert (400, "control-character", True) == (fault.error.code, fault.error.id, fault.closes)
        assert f"U+{octet:04X}" in fault.error.message


def test_the_lines_before_a_control_byte_are_read() -> None:
    request, fault = events_of([b"stats\nre\0set\nreset\n"])
    assert Request(("stats",)) == request
    assert isinstance(fault, Fault)


def test_a_nul_belongs_to_a_cr_as_telnet_writes_it_and_to_nothing_else() -> None:
    assert [Request(("stats",))] == events_of([b"stats\r\0\r", b"\0\n"])
    assert fault_of(b"stats\r\0\0\n").closes
    assert fault_of(b"stats\n\0"[6:]).closes


def test_a_control_character_of_more_than_one_byte_is_a_fault_of_its_line_only() -> None:
    fault, request = events_of(["a\u0085b\nping\n".encode()])
    assert isinstance(fault, Fault)
    assert ("control-character", False) == (fault.error.id, fault.closes)
    assert Request(("ping",)) == request


def test_a_cr_inside_a_line_is_a_fault() -> None:
    assert "control-character" == fault_of(b"stats\rping\n").error.id


FOREIGN = [
    b"GET / HTTP/1.1\r\nHost: stats\r\n\r\nstats\n",
    b"post /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nreset\r\n\r\n",
    b"post /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\nreset\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nreset\n",
    b"GET\xa0/ HTTP/1.1\r\n\r\nreset\n",
    b"*1\r\n$5\r\nreset\r\n",
    b"set key 0 0 7\r\nreset\r\n",
    b"EHLO me\r\nreset\r\n",
    b"Host: x\nreset\n",
]


@pytest.mark.parametrize("octets", FOREIGN)
def test_another_protocol_is_refused_once_and_nothing_after_it_is_read(octets: bytes) -> None:
    fault = fault_of(octets, finished=True)
    assert (400, True) == (fault.error.code, fault.closes)


# Telnet


def test_every_option_is_refused() -> None:
    options = (0, 1, 3, 6, 24, 31, 255)
    answers = events_of([bytes((0xFF, command, option)) for option in options for command in (0xFD, 0xFB)])
    expected = [Answer(bytes((0xFF, command, option))) for option in options for command in (0xFC, 0xFE)]
    assert expected == answers


def test_dont_and_wont_need_no_answer() -> None:
    assert [Request(("ping",))] == events_of([b"\xff\xfe\x01pi\xff\xfc\x03ng\n"])


def test_ctrl_c_of_a_real_telnet_discards_the_line_begun_and_is_answered() -> None:
    events = [INTERRUPT, Answer(b"\xff\xfc\x06"), Request(("ping",))]
    assert events == events_of([b"garb\xff\xf4\xff\xfd\x06ping\r\n"])


def test_ctrl_c_ends_the_swallowing_of_a_long_line() -> None:
    fault, *others = events_of([b"x" * 2000 + b"\xff\xf4" + b"ping\n"])
    assert isinstance(fault, Fault)
    assert [INTERRUPT, Request(("ping",))] == others


@pytest.mark.parametrize("command", [0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF2, 0xF3, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9])
def test_other_telnet_commands_are_dropped(command: int) -> None:
    assert [Request(("ping",))] == events_of([b"pi\xff" + bytes((command,)) + b"ng\n"])


def test_a_subnegotiation_is_dropped_whatever_it_holds() -> None:
    assert [Request(("ping",))] == events_of([b"pi\xff\xfa\x18\x00a\nb\xff\xff\xff\xfdc\xff\xf0ng\n"])


@pytest.mark.parametrize("filling", [b"x", b"\xff\xff", b"\xff\xfdx"])
def test_a_subnegotiation_without_end_is_given_up_as_a_line_too_long(filling: bytes) -> None:
    events = events_of([b"\xff\xfa" + filling * 2000 + b"\nping\n"])
    fault, request = (event for event in events if not isinstance(event, Answer))
    assert isinstance(fault, Fault)
    assert 413 == fault.error.code
    assert Request(("ping",)) == request


# Cuts

LINES = [b"stats", b" ", b" json", b"ping\n", b"run start x\r\n", b"\n", b"\r\n", b"\r", b"\0", b"\r\0", b"GET / H\r\n"]
TELNET = [b"\xff", b"\xff\xff", b"\xff\xf4", b"\xff\xfd\x06", b"\xff\xfb\x01", b"\xff\xfe", b"\xff\xfc\n", b"\xff\xfa"]
TELNET += [b"\xff\xf0", b"\xff\xfa\x18\x01\xff\xf0"]
LONG = [b"\xc3\xa9", b"\xc3", b"x" * 1023, b"x" * 1024, b"y" * 1500]
INPUT = st.one_of(st.sampled_from(LINES + TELNET + LONG), st.binary(max_size=5))


@given(st.lists(INPUT, max_size=30).map(b"".join), st.data())
@example(b"\xff\xfa" + b"\xff\xff" * 600 + b"x\n", None)
@example(b"x" * 1024 + b"\r\0\r\nping\n", None)
@example(b" " * 1024 + b":\n", None)
@example(b"\t" * 1024 + b"GET / HTTP/1.1\r\n", None)
@example(b"post /" + b"x" * 1020 + b" HTTP/1.1\r\n", None)
def test_where_the_network_cuts_the_input_never_matters(octets: bytes, data: st.DataObject | None) -> None:
    whole = summary(events_of([octets], finished=True))
    bytewise = summary(events_of([octets[at : at + 1] for at in range(len(octets))], finished=True))
    assert whole == bytewise
    if data is not None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=5)))
        chunks = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
        assert whole == summary(events_of(chunks, finished=True))


WORD = st.text(
    st.characters(
        min_codepoint=33, max_codepoint=0x24F, exclude_categories=("Cc", "Zs"), exclude_characters=("'", '"')
    ),
    min_size=1,
    max_size=9,
)


@given(st.lists(st.lists(WORD, min_size=1, max_size=4), max_size=8))
def test_n_lines_are_n_requests_in_order(lines: list[list[str]]) -> None:
    lines = [["do", "as", *words, "."] for words in lines]
    octets = "".join(" ".join(words) + "\r\n" for words in lines).encode()
    assert [Request(tuple(words)) for words in lines] == events_of([octets])


# Work

DROPPED = [
    b"\n",
    b"\r\n",
    b" \t\n",
    b" \r\0\n",
    b"\xff\xf1",
    b"\xff\xf4",
    b"x\xff\xf4",
    b"\xff\xff",
    b"\xff\xfe\x01",
    b"\xff\xfax\xff\xf0",
    b"\xff\xfa\xff\xf0\n",
    b"x" * 1100 + b"\n\xff\xf4",
    b"x",
    b" ",
]
"""What a peer may send without end, and get little or no answer to."""


def noted(method: Callable[..., Event | None], done: list[str]) -> Callable[..., Event | None]:
    def call(*arguments: Any) -> Event | None:
        done.append(method.__name__)
        return method(*arguments)

    return call


@pytest.mark.parametrize("piece", DROPPED)
def test_one_call_drops_a_bounded_number_of_pieces(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("_skip", "_negotiate", "_end_line", "_extend"):
        monkeypatch.setattr(Dialogue, name, noted(getattr(Dialogue, name), done))
    dialogue = Dialogue()
    dialogue.receive(piece * 4096)
    while dialogue.next_event() is not None:
        assert len(done) <= 2 * PIECES  # IAC IAC is a negotiation and a byte of the line
        done.clear()


@pytest.mark.parametrize("piece", [*DROPPED, b"ping\n", b"\xff\xfd\x01", b"a" * 1024 + b"\n", b"x\x80\n"])
def test_the_calls_for_n_bytes_double_as_the_bytes_do(piece: bytes) -> None:
    def calls(times: int) -> int:
        dialogue = Dialogue()
        dialogue.receive(piece * times)
        return len(calls_of(dialogue))

    one, two, four = calls(500), calls(1000), calls(2000)
    assert one <= 500 * 3
    assert abs(two - 2 * one) <= 3
    assert abs(four - 2 * two) <= 3


def test_a_run_of_empty_lines_is_one_piece_and_what_follows_is_read() -> None:
    dialogue = Dialogue()
    dialogue.receive(b"\n\r\n \t\r\n" * 10_000 + b"ping\n")
    assert [MORE, Request(("ping",))] == calls_of(dialogue)
