"""Hypothesis strategies for good specs."""

from __future__ import annotations

from hypothesis import strategies as st

from ctrlserver.inject.actions import KINDS, OF_CONNECTIONS, Action
from ctrlserver.inject.arguments import Bits, Drip, Exponential, Fixed, Length, Rate, Text, Uniform
from ctrlserver.inject.spec import Chance, Every, First, Spec, Term, Upto

times = st.integers(1, 3600 * 10**9) | st.integers(1, 3600).map(lambda seconds: seconds * 10**9)
sizes = st.integers(1, 1 << 60) | st.integers(0, 10).map(lambda power: 1024 << power)
ARGUMENTS = {
    "slow-read": st.builds(Rate, sizes),
    "delay": st.builds(Fixed, times)
    | st.builds(Exponential, times)
    | st.tuples(st.integers(0, 3600 * 10**9), times)
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: Uniform(*pair)),
    "truncate": st.builds(Length, sizes),
    "corrupt": st.builds(Bits, st.integers(1, 1 << 16)),
    "wrong": st.builds(Text, st.binary(min_size=1, max_size=20)),
    "drip": st.builds(Drip, sizes, times),
}


def _actions(name: str) -> st.SearchStrategy[Action]:
    return st.builds(Action, st.just(name), ARGUMENTS.get(name, st.none()))


ARGUED = {name: _actions(name) for name in KINDS}

firsts = st.integers(1, 10**18).map(First)
everies = st.integers(2, 10**18).map(Every)
chances = st.integers(1, 100 * 10**9).map(Chance)
uptos = sizes.map(Upto)


def _spec(first: list[Term], last: Term) -> Spec:
    return Spec((*first, last))


def _chains(
    names: list[str], uncounted: list[str], whens: st.SearchStrategy[First | Every | Chance | Upto]
) -> st.SearchStrategy[Spec]:
    counted = st.one_of([ARGUED[name] for name in names])
    limited = st.builds(Term, counted, whens)
    always = st.builds(Term, st.one_of([ARGUED[name] for name in [*names, *uncounted]]))
    chains = st.builds(_spec, st.lists(limited, max_size=4), always | limited)
    return chains.filter(lambda spec: any(term.action.kind.point for term in spec.terms))


packet_specs = _chains(
    [kind.name for kind in KINDS.values() if kind.point not in OF_CONNECTIONS],
    [],
    st.one_of(firsts, everies, chances, uptos),
)
connection_specs = _chains(
    [kind.name for kind in KINDS.values() if kind.point in ("", *OF_CONNECTIONS) and kind.counted],
    ["refuse", "hang"],
    st.one_of(firsts, everies, chances),
).filter(lambda spec: spec.of_connections)
specs = packet_specs | connection_specs
