"""Regular expressions as tables: what ``re`` finds, in a step for each byte."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctrlserver.errors import InjectionError
from ctrlserver.inject.patterns import LOOK, Pattern

ATOMS = st.sampled_from(["a", "b", "A", ".", "[ab]", "[^a]", r"\d", r"\x00", r"\.", "[]a]", "^", "$", "", r"\W", "é"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(?:" + "|".join(parts) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}", "*?"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)
PACKETS = st.text("abA0.\n\0x", max_size=8).map(str.encode)


@given(st.sampled_from(["", "(?i)", "(?s)", "(?is)"]), EXPRESSIONS, PACKETS)
@example("", "$^|x", b"q")
@example("", "a{x}{", b"aa{x}{")
@example("", "^a|b$", b"ab")
def test_what_re_finds_is_found(flags: str, text: str, packet: bytes) -> None:
    of_re = re.search((flags + text.replace("$", r"\Z")).encode(), packet)
    assert (of_re is not None) == Pattern(flags + text).holds(packet)


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        (r"^(?i:x)?", None),
        (r"(?i)^(EHLO|HELO) (\S+)$", b"ehlo there"),
        (r"^GET /[a-z]+ HTTP/1\.[01]$", b"GET /index HTTP/1.1"),
        (r'"method": ?"ping"', b'{"id": 1, "method":"ping"}'),
        (r"\x00\xff", b"a\x00\xffb"),
        ("^é+$", "é".encode()),
        ("", b""),
    ],
)
def test_what_people_write_is_found(text: str, packet: bytes | None) -> None:
    if packet is None:
        with pytest.raises(InjectionError, match="look back or ahead"):
            Pattern(text)
    else:
        assert Pattern(text).holds(packet)


def test_an_expression_sees_the_first_bytes_of_a_packet_and_its_end_only_there() -> None:
    assert Pattern("b$").holds(b"a" * (LOOK - 1) + b"b")
    assert not Pattern("b").holds(b"a" * LOOK + b"b")
    assert not Pattern("b$").holds(b"a" * (LOOK - 1) + b"b" + b"a")
    assert Pattern("b").holds(b"a" * (LOOK - 1) + b"b" + b"a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(", r'when "/\(/": missing \), unterminated subpattern at 1'),
        ("[a", "unterminated character set at 1"),
        ("*a", "nothing to repeat at 1"),
        (r"(a)\1", r'"\\\\1" at 4 would have to look back or ahead'),
        (r"\bx", "at 1 would have to look back or ahead"),
        ("a(?=b)", r'"\(\?=" at 2 would have to look back or ahead'),
        ("a*+", r'"\*\+" at 2 does not give back what it took'),
        ("(a|b)*a(a|b){12}", "too complex"),
        (".{0,200}x$", "too complex"),
        ("(a{900}){900}", "too complex"),
        ("((((){1000}){1000}){1000}){1000}", "too complex"),
        ("(" * 51 + ")" * 51, "at most 1000 characters and 50 groups"),
        ("a" * 1001, "at most 1000 characters"),
    ],
)
def test_what_is_no_expression_or_has_no_small_table_is_refused(text: str, why: str) -> None:
    with pytest.raises(InjectionError, match=why) as caught:
        Pattern(text)
    assert 400 == caught.value.code


def lines_run(call: Callable[[], object]) -> int:
    """Lines of Python that ``call`` runs: a measure of work that no other load changes."""
    lines = 0

    def count(_: FrameType, event: str, __: object) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(
    ("text", "octet"),
    [("(a+)+$", b"a"), ("(a|a)*b", b"a"), ("a.*b.*c.*d$", b"a"), ("(x+x+)+y", b"x"), ("(.*)*\x01", b"x")],
)
def test_what_holds_up_re_costs_a_step_for_each_byte_up_to_the_bound(text: str, octet: bytes) -> None:
    pattern = Pattern(text)
    work = [lines_run(lambda n=n: pattern.holds(octet * n)) for n in (256, 512, 1024, 2048, 1 << 20)]  # type: ignore[misc]
    steps = [later - earlier for earlier, later in pairwise(work)]
    assert [2 * 256, 2 * 512] == steps[:2]
    assert max(steps[2:]) <= 0
