"""Claims about renames of what is kept: any set is refused, or keeps all contents and places, and can be undone."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.errors import RenameError
from ctrlserver.history.entries import record_of, row_of
from ctrlserver.stats.records import RunRecord, Value, as_mapping
from ctrlserver.stats.rename import Renames
from tests.history.stores import a_run, labelled

LABELS = ("site", "rack", "protocol")
RUNS = st.builds(
    a_run,
    st.integers(1, 2**62),
    at=st.integers(0, 10**9),
    name=st.none() | st.text(max_size=5),
    packets=st.integers(0, 2**62),
    complete=st.sampled_from([None, True, False]),
    labels=st.dictionaries(st.sampled_from(LABELS), st.lists(st.sampled_from(["a", 7, 0.5, True]), min_size=1)),
)
KNOWN = sorted(as_mapping(a_run(1, labels=labelled(site=["a"], rack=[1], protocol=["HTTP"]))))
NAMES = st.sampled_from([*KNOWN, "a", "b", "Name", "OK", "two words", "packets_total"])
PAIRS = st.lists(st.tuples(st.sampled_from(KNOWN), NAMES), max_size=6)


def by_the_model(record: Mapping[str, Value], pairs: list[tuple[str, str]]) -> list[tuple[str, Value]]:
    """One field after the other, each under its new name if it has one."""
    new = dict(pairs)
    return [(new.get(name, name), value) for name, value in record.items()]


@given(RUNS, PAIRS)
def test_any_set_over_any_stored_run_is_refused_or_keeps_all_contents_and_places(
    run: RunRecord, pairs: list[tuple[str, str]]
) -> None:
    stored = record_of(row_of(run))
    assert run == stored, "the file has the fields' own names"
    try:
        renames = Renames(pairs, fields=LABELS)
    except RenameError:
        return
    published = renames.apply(as_mapping(stored))
    assert by_the_model(as_mapping(run), pairs) == list(published.items())
    back = {new: old for old, new in renames.pairs}
    assert list(as_mapping(run).items()) == [(back.get(name, name), value) for name, value in published.items()]


@given(RUNS)
def test_a_run_is_read_back_as_it_was_written(run: RunRecord) -> None:
    assert run == record_of(row_of(run))


def test_a_field_that_an_earlier_version_did_not_know_is_not_known_and_one_of_a_later_version_is_left_out() -> None:
    *head, text = row_of(a_run(3, name="a"))
    older, later = text.replace('"faults":0,', ""), text.replace("{", '{"new_field":1,', 1)
    assert record_of([*head, older]).faults is None
    assert a_run(3, name="a") == record_of([*head, later])
