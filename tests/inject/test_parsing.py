from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.errors import InjectionError
from ctrlserver.inject.actions import KINDS, Action
from ctrlserver.inject.arguments import Bits, Drip, Exponential, Fixed, Length, Rate, Text, Uniform
from ctrlserver.inject.parsing import LONGEST_SPEC, parse_spec
from ctrlserver.inject.spec import Chance, Every, First, Spec, Term, Upto
from tests.inject.trees import specs

some = settings(max_examples=150, deadline=None)
MS = 10**6


def message_of(text: str) -> str:
    with pytest.raises(InjectionError) as caught:
        parse_spec(text)
    assert 400 == caught.value.code
    return str(caught.value)


@some
@given(specs)
def test_what_a_spec_is_written_as_reads_back_as_the_same(spec: Spec) -> None:
    assert spec == parse_spec(spec.text)
    assert spec.text == parse_spec(spec.text).text


@some
@given(st.text(alphabet="3150%th*->()'\"\\ KiB.sdelayokreset/", max_size=30) | st.text(max_size=20))
def test_any_text_is_a_spec_or_one_line_of_error(text: str) -> None:
    said = ""
    try:
        spec = parse_spec(text)
    except InjectionError as error:
        said = str(error)
    else:
        assert spec == parse_spec(spec.text)
    assert said == "".join(c for c in said if c.isprintable())[:500]


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (Term(Action("swallow")), "swallow"),
        (Term(Action("swallow"), First(3)), "3*swallow"),
        (Term(Action("swallow"), Every(10)), "10th*swallow"),
        (Term(Action("swallow"), Every(22)), "22ND * swallow"),
        (Term(Action("swallow"), Chance(5 * 10**9)), "5%*swallow"),
        (Term(Action("swallow"), Chance(10**7)), "0.01%*swallow"),
        (Term(Action("swallow"), Upto(65536)), "64KiB*swallow"),
        (Term(Action("swallow"), Upto(1500)), "1500B*swallow"),
        (Term(Action("delay", Fixed(200 * MS))), "delay(200ms)"),
        (Term(Action("delay", Uniform(50 * MS, 200 * MS))), "delay(50ms..200ms)"),
        (Term(Action("delay", Exponential(20 * MS))), "delay(exp 20ms)"),
        (Term(Action("slow-read", Rate(10240))), "slow-read(10KiB/s)"),
        (Term(Action("slow-read", Rate(10000))), "slow-read(80kbit/s)"),
        (Term(Action("drip", Drip(1, 10 * MS))), "drip(1B/10ms)"),
        (Term(Action("drip", Drip(1024, 1000 * MS))), "drip(1KiB/s)"),
        (Term(Action("corrupt", Bits(1))), "corrupt"),
        (Term(Action("corrupt", Bits(3))), "corrupt(3 bits)"),
        (Term(Action("truncate", Length(10))), "truncate(10)"),
        (Term(Action("wrong", Text(b"a->b)\r\n'\0\xff\\"))), r"wrong('a->b)\r\n\'\0\xff\\')"),
        (Term(Action("wrong", Text(b'it\'s "NO"'))), r'wrong("it' + r"'s \"NO\"" + '")'),
    ],
)
def test_a_term_is_read_as_it_is_meant(expected: Term, given: str) -> None:
    assert Spec((expected,)) == parse_spec(given)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_action_is_read_in_the_form_that_help_shows(kind: object) -> None:
    name, form = getattr(kind, "name"), getattr(kind, "form")  # noqa: B009
    text = form if name not in ("ok", "off") else f"3*reset->{form}"
    assert text == parse_spec(f" {text.upper() if '(' not in text else text} ").text


def test_terms_stand_in_order_and_blanks_and_case_do_not_matter() -> None:
    spec = parse_spec(" 3 * Swallow -> 64KiB*OK -> DELAY( 20ms ) ")
    assert "3*swallow->64KiB*ok->delay(20ms)" == spec.text
    assert ["swallow", "ok", "delay"] == [term.action.name for term in spec.terms]


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ('"dealy" at 5; did you mean "delay"?', "10%*dealy(1s)"),
        ('"5%swallow" at 1; did you mean "5%*swallow"?', "5%swallow"),
        ('"3reset" at 8; did you mean "3*reset"?', "7*ok-> 3reset"),
        ('"delay" at 1 needs an argument, such as "delay(200ms)"', "delay"),
        ('"delay" at 4 needs an argument, such as "delay(200ms)"', "3* delay( )"),
        ('"reset(3)" at 5: it takes no argument; did you mean "reset"?', "10%*reset(3)"),
        ('"20mss" at 7: expected seconds such as 0.5, "500ms", "10s" or "1h30m"; did you mean "20ms"?', "delay(20mss)"),
        ('"50..200ms" at 7: the unit of the shorter time is missing; did you mean "50ms..200ms"?', "delay(50..200ms)"),
        ('"2s..1s" at 7: expected the shorter time first; did you mean "1s..2s"?', "delay(2s..1s)"),
        ('"0" at 7: expected a time above 0 and at most 1h; did you mean "1ms"?', "delay(0)"),
        ('"2h" at 7: expected a time above 0 and at most 1h; did you mean "1h"?', "delay(2h)"),
        ('"10" at 11: expected bytes a second such as "10KiB/s"; did you mean "10/s"?', "slow-read(10)"),
        ('"12bit/s" at 11: expected whole bytes a second; did you mean "1B/s"?', "slow-read(12bit/s)"),
        ('"fast" at 11: expected bytes a second such as "10KiB/s"', "slow-read(fast)"),
        ('"10kb/s" at 11: expected bytes such as 1024, "64KiB" or "1MB"; did you mean "10kB/s"?', "slow-read(10kb/s)"),
        ('"0/s" at 11: expected at least a byte a second', "slow-read(0/s)"),
        ('did you mean "1B/10ms"?', "drip(1b/10ms)"),
        ('did you mean "1B/10ms"?', "drip(1B/10mss)"),
        ('did you mean "1B/1s"?', "drip(1B/sec)"),
        ('did you mean "1B/1ms"?', "drip(1B/0s)"),
        ('did you mean "50ms..200ms"?', "delay(50mss..200ms)"),
        ('did you mean "50ms..1h"?', "delay(50ms .. 2h)"),
        (
            '"exp 20mss" at 7: expected seconds such as 0.5, "500ms", "10s" or "1h30m"; did you mean "exp 20ms"?',
            "delay(exp 20mss)",
        ),
        ('"exp" at 7: expected its mean; did you mean "exp 20ms"?', "delay(exp)"),
        ('"3" at 6: expected bytes and the time of each such as "1B/10ms"; did you mean "3/10ms"?', "drip(3)"),
        ('"0" at 9: expected 1 to 65536 bits; did you mean "1 bit"?', "corrupt(0)"),
        ('"all" at 9: expected a number of bits such as "1 bit"', "corrupt(all)"),
        ('"0" at 10: expected at least 1 byte: to send nothing is "swallow"', "truncate(0)"),
        ('"NO" at 7: expected a text in quotes; did you mean "\'NO\'"?', "wrong(NO)"),
        ('"\'\'" at 7: expected a text of at least 1 byte: to send nothing is "swallow"', "wrong('')"),
        (r"""unknown escape: expected \r \n \t \0 \xHH, or \\ for a backslash""", r"wrong('\q')"),
        ("\"'NO)\" at 7: expected ' at its end", "wrong('NO)"),
        ('"(10ms" at 6: expected ")" after it', "delay(10ms"),
        ('"x" at 12: expected "->" or the end', "delay(10ms)x"),
        ('"reset" at 9: expected "->" or the end', "swallow reset"),
        ('nothing at 10: expected an action before and after "->"', "swallow->"),
        ('nothing at 1: expected an action before and after "->"', "->swallow"),
        ('"": expected an action such as "swallow", or several such as "3*swallow->delay(200ms)"', " "),
        ('"" at 1: expected 3 (the first three), 10th (every tenth), 5% or 64KiB', "*swallow"),
        ('"5k" at 1: expected 3 (the first three), 10th (every tenth), 5% or 64KiB', "5k*swallow"),
        ('5% or 64KiB; did you mean "64KiB"?', "64K*swallow"),
        ('5% or 64KiB; did you mean "64KiB"?', "64k*swallow"),
        ('5% or 64KiB; did you mean "64KiB"?', "64kib*swallow"),
        ('"2th" at 1: expected an ordinal; did you mean "2nd"?', "2th*swallow"),
        ('"1st" at 1: every packet is struck without it, the first one by "1*"', "1st*swallow"),
        ('"0" at 1: expected a number from 1 to 1000000000000000000', "0*swallow"),
        ('"0th" at 1: expected a number from 2 to 1000000000000000000', "0th*swallow"),
        ('"150%" at 1: expected a chance above 0 and up to 100%, such as 5% or 0.01%', "150%*swallow"),
        ('"0%" at 1: expected a chance above 0', "0%*swallow"),
    ],
)
def test_an_error_points_at_the_place_and_names_the_nearest_good_text(expected: str, given: str) -> None:
    said = message_of(given)
    assert expected in said
    if meant := re.match(r'"(.*)" at (\d+)\b.*; did you mean "(.*)"\?$', said):
        wrong, place, near = meant.groups()
        start = int(place) - 1
        parse_spec(given[:start] + near + given[start + len(wrong) :])


def test_an_action_that_is_like_none_gets_the_list() -> None:
    assert message_of("3*xyz").startswith('"xyz" at 3: expected an action: ok, off, refuse, close-at-once, hang, stall')


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ('"reset" at 10: no packet gets there: "swallow" before it always strikes', "swallow->reset"),
        ('"3*ok" at 6: no packet gets there: "off" before it always strikes', "off->3*ok"),
        ('"ok" at 1: it strikes nothing: expected an action beside ok and off', "ok"),
        ('"3*ok" at 1: it strikes nothing: expected an action beside ok and off', "3*ok->off"),
        ('"reset" at 18: it strikes packets, and others here strike connections', "3*close-at-once->reset"),
        ('"64KiB*ok" at 1: a connection that is not yet a stream has no bytes', "64KiB*ok->hang"),
        ('expected "refuse" without "*", or "3*close-at-once"', "3*refuse"),
        ('"5%*hang" at 1: nobody counts whom the kernel alone meets', "5%*hang"),
    ],
)
def test_terms_that_do_nothing_together_are_errors(expected: str, given: str) -> None:
    assert expected in message_of(given)


def test_the_length_of_a_spec_is_bounded() -> None:
    assert 16 == len(parse_spec("->".join(["3*swallow"] * 16)).terms)
    assert message_of("->".join(["3*swallow"] * 17)).endswith("expected at most 16 terms")
    assert message_of(" " * LONGEST_SPEC + "reset").endswith("expected at most 131072 characters")
    longest = "wrong('" + r"\n" * 65536
    assert message_of(longest + r"\n')").endswith("expected at most 131072 characters")
    assert message_of("wrong('" + "n" * 65537 + "')").endswith("expected a text of at most 65536 bytes")


@pytest.mark.parametrize(
    ("given", "of_connections", "needs_sizes"),
    [
        ("3*ok->refuse", True, False),
        ("expired", True, False),
        ("64KiB*ok->stall", False, True),
        ("reset", False, False),
    ],
)
def test_a_spec_tells_what_it_counts(given: str, of_connections: bool, needs_sizes: bool) -> None:
    spec = parse_spec(given)
    assert (of_connections, needs_sizes) == (spec.of_connections, spec.needs_sizes)
