"""Claims about renaming fields: the content untouched, the place kept, nothing lost."""

from __future__ import annotations

import doctest
from collections import OrderedDict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ctrlserver.errors import RenameError
from ctrlserver.stats import rename
from ctrlserver.stats.records import field_names
from ctrlserver.stats.rename import Renames, rename_key

# Good names that are no published fields.
NAMES = st.text("abz_", min_size=1, max_size=3).filter(lambda name: name not in field_names())
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
MAPPINGS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=8)


def refusal(*pairs: tuple[str, str], fields: tuple[str, ...] = ()) -> str:
    with pytest.raises(RenameError) as refused:
        Renames(pairs, fields=fields)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# rename_key


def test_the_examples_in_the_docstrings_hold() -> None:
    found = doctest.testmod(rename)
    assert (0, True) == (found.failed, found.attempted > 0)


def test_the_example_of_the_design_holds_for_one_dictionary() -> None:
    mapping = {"protocol": "HTTP", "size": 1024}
    rename_key(mapping, "protocol", "inet_protocol")
    assert [("inet_protocol", "HTTP"), ("size", 1024)] == list(mapping.items())


@given(MAPPINGS, NAMES, st.data())
def test_a_key_renamed_keeps_every_value_and_every_place(
    mapping: dict[str, object], new: str, data: st.DataObject
) -> None:
    assume(new not in mapping)
    before = dict(mapping)
    old = data.draw(st.sampled_from(list(mapping)))
    same = mapping
    rename_key(mapping, old, new)
    assert mapping is same
    assert list(mapping) == [new if key == old else key for key in before]
    assert all(now is then for now, then in zip(mapping.values(), before.values(), strict=True))


@given(MAPPINGS, NAMES, st.data())
def test_a_key_renamed_there_and_back_is_as_before(mapping: dict[str, object], new: str, data: st.DataObject) -> None:
    assume(new not in mapping)
    before = list(mapping.items())
    old = data.draw(st.sampled_from(list(mapping)))
    rename_key(mapping, old, new)
    rename_key(mapping, new, old)
    assert list(mapping.items()) == before


@given(MAPPINGS, NAMES, NAMES)
def test_a_missing_key_is_a_key_error_and_nothing_changes(mapping: dict[str, object], old: str, new: str) -> None:
    assume(old not in mapping)
    before = list(mapping.items())
    with pytest.raises(KeyError):
        rename_key(mapping, old, new)
    assert list(mapping.items()) == before


def test_an_existing_new_name_is_refused_naming_both_and_nothing_changes() -> None:
    mapping = {"protocol": "HTTP", "size": 1024}
    with pytest.raises(RenameError, match='cannot rename "protocol" to "size": "size" is there already'):
        rename_key(mapping, "protocol", "size")
    assert [("protocol", "HTTP"), ("size", 1024)] == list(mapping.items())


def test_a_key_renamed_to_itself_stays_and_must_be_there() -> None:
    mapping = {"size": 1024}
    rename_key(mapping, "size", "size")
    assert {"size": 1024} == mapping
    with pytest.raises(KeyError):
        rename_key(mapping, "peer", "peer")


def test_any_mutable_mapping_will_do() -> None:
    mapping = OrderedDict([("a", 1), ("b", 2)])
    rename_key(mapping, "a", "c")
    assert mapping == OrderedDict([("c", 1), ("b", 2)])


# Renames, applied


def test_the_example_of_the_design_holds_for_a_set() -> None:
    mapping = {"protocol": "HTTP", "size": 1024}
    renamed = Renames([("protocol", "inet_protocol")]).apply(mapping)
    assert [("inet_protocol", "HTTP"), ("size", 1024)] == list(renamed.items())
    assert ["protocol", "size"] == list(mapping)


def test_a_swap_works() -> None:
    swap = Renames([("packets", "bytes"), ("bytes", "packets")])
    assert [("bytes", 1), ("x", 2), ("packets", 3)] == list(swap.apply({"packets": 1, "x": 2, "bytes": 3}).items())


def test_a_missing_source_is_left_out() -> None:
    assert {"size": 1} == Renames([("protocol", "inet_protocol")]).apply({"size": 1})


def test_pairs_may_be_given_as_a_mapping() -> None:
    assert Renames({"protocol": "inet_protocol"}) == Renames([("protocol", "inet_protocol")])


def test_no_renames_give_an_equal_copy() -> None:
    mapping = {"a": 1}
    assert Renames().apply(mapping) == mapping
    assert Renames().apply(mapping) is not mapping


@given(MAPPINGS, st.data())
def test_any_permutation_of_names_keeps_places_and_values_and_can_be_undone(
    mapping: dict[str, object], data: st.DataObject
) -> None:
    names = list(mapping)
    shuffled = data.draw(st.permutations(names))
    there = Renames(zip(names, shuffled, strict=True))
    back = Renames(zip(shuffled, names, strict=True))
    renamed = there.apply(mapping)
    assert list(renamed) == list(shuffled)
    assert all(now is then for now, then in zip(renamed.values(), mapping.values(), strict=True))
    assert list(back.apply(renamed).items()) == list(mapping.items())
    assert [there.renamed(name) for name in names] == list(shuffled)


@given(MAPPINGS, st.lists(st.tuples(NAMES, NAMES), max_size=4))
def test_a_set_applied_loses_no_field_or_is_refused(mapping: dict[str, object], pairs: list[tuple[str, str]]) -> None:
    before = list(mapping.items())
    try:
        renamed = Renames(pairs).apply(mapping)
    except RenameError:
        pass
    else:
        assert list(renamed.values()) == list(mapping.values())
        new_of = dict(pairs)
        assert list(renamed) == [new_of.get(name, name) for name in mapping]
    assert list(mapping.items()) == before


def test_a_new_name_that_the_mapping_holds_already_is_refused() -> None:
    renames = Renames([("protocol", "rack")])
    mapping: dict[str, object] = {"protocol": "tcp", "rack": 4}
    with pytest.raises(RenameError, match='cannot rename "protocol" to "rack": "rack" is there already'):
        renames.apply(mapping)
    assert {"protocol": "tcp", "rack": 4} == mapping


# Renames, checked when made


def test_one_source_twice_is_refused_naming_both_targets() -> None:
    assert '"protocol" is renamed twice, to "a" and to "b"' == refusal(("protocol", "a"), ("protocol", "b"))


def test_one_target_twice_is_refused_naming_both_sources() -> None:
    assert '"protocol" and "mode" are both renamed to "x"' == refusal(("protocol", "x"), ("mode", "x"))


def test_a_target_that_is_another_field_is_refused_naming_both() -> None:
    assert 'cannot rename "protocol" to "size": "size" is another field\'s name' == refusal(("protocol", "size"))


def test_a_target_that_is_a_label_is_refused() -> None:
    assert '"rack"' in refusal(("protocol", "rack"), fields=("rack",))


def test_a_target_that_is_a_field_renamed_itself_is_good() -> None:
    chain = Renames([("protocol", "mode"), ("mode", "way")])
    assert ["mode", "way"] == list(chain.apply({"protocol": 1, "mode": 2}))


def test_a_field_renamed_to_its_own_name_does_not_free_that_name() -> None:
    assert '"mode"' in refusal(("protocol", "mode"), ("mode", "mode"))


def test_a_field_renamed_to_its_own_name_is_no_rename() -> None:
    assert () == Renames([("mode", "mode")]).pairs


@pytest.mark.parametrize("new", ["", "1st", "two words", "a\nb", "naïve", "-x", ".x", 'a"b', "a:b", "# x", "x\n"])
def test_a_target_that_is_not_one_plain_word_is_refused_on_one_line(new: str) -> None:
    assert "letter or _" in refusal(("protocol", new))


@pytest.mark.parametrize("new", ["OK", "ERR", "OKAY", "ERROR", "OK_bytes"])
def test_a_target_that_starts_like_a_status_line_is_refused(new: str) -> None:
    assert "OK or ERR" in refusal(("protocol", new))


@pytest.mark.parametrize("new", ["ok", "err", "inet_protocol", "_x", "a.b-c", "X9", "BOOK"])
def test_plain_words_are_good_targets(new: str) -> None:
    assert Renames([("protocol", new)]).pairs == (("protocol", new),)


def test_a_set_cannot_be_changed() -> None:
    renames = Renames()
    with pytest.raises(AttributeError):
        renames.pairs = (("a", "b"),)  # type: ignore[misc]


# Renames, changed live


def test_a_rename_adds_a_rule_and_leaves_the_old_set_alone() -> None:
    before = Renames()
    after = before.with_rename("protocol", "inet_protocol")
    assert () == before.pairs
    assert (("protocol", "inet_protocol"),) == after.pairs
    assert "inet_protocol" == after.renamed("protocol")


@pytest.mark.parametrize("said", ["inet_protocol", "protocol"])
def test_a_second_rename_of_a_field_replaces_its_rule(said: str) -> None:
    renames = Renames([("protocol", "inet_protocol"), ("mode", "way")]).with_rename(said, "proto")
    assert (("protocol", "proto"), ("mode", "way")) == renames.pairs


def test_the_name_a_reader_sees_is_meant_first() -> None:
    swap = Renames([("packets", "bytes"), ("bytes", "packets")])
    assert (("packets", "frames"), ("bytes", "packets")) == swap.with_rename("bytes", "frames").pairs


def test_a_field_renamed_back_has_no_rule() -> None:
    assert () == Renames([("protocol", "p")]).with_rename("p", "protocol").pairs


def test_a_swap_can_be_made_live_by_way_of_a_third_name() -> None:
    renames = Renames().with_rename("packets", "x").with_rename("bytes", "packets").with_rename("x", "bytes")
    assert (("packets", "bytes"), ("bytes", "packets")) == renames.pairs


def test_a_rename_onto_a_published_name_is_refused_and_changes_nothing() -> None:
    renames = Renames([("protocol", "inet_protocol")])
    with pytest.raises(RenameError, match='"protocol" and "mode" are both renamed to "inet_protocol"'):
        renames.with_rename("mode", "inet_protocol")
    with pytest.raises(RenameError, match="another field's name"):
        renames.with_rename("mode", "size")
    assert (("protocol", "inet_protocol"),) == renames.pairs


def test_a_rename_of_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(RenameError, match=r'^unknown field "protcol"; did you mean "protocol"\?$'):
        Renames().with_rename("protcol", "p")


def test_the_nearest_field_is_named_as_it_is_published() -> None:
    with pytest.raises(RenameError, match='did you mean "inet_protocol"'):
        Renames([("protocol", "inet_protocol")]).with_rename("inet_protcol", "p")


def test_a_label_can_be_renamed_where_it_is_known() -> None:
    assert (("rack", "shelf"),) == Renames(fields=["rack"]).with_rename("rack", "shelf").pairs
    with pytest.raises(RenameError):
        Renames().with_rename("rack", "shelf")


@given(st.sampled_from(sorted(field_names())), NAMES)
def test_a_rename_taken_back_leaves_the_set_as_before(old: str, new: str) -> None:
    before = Renames([("peer", "from.whom")] if old != "peer" else [("mode", "way")])
    assume(new not in {"from.whom", "way"})
    assert before.with_rename(old, new).without(new) == before or old == "mode"


def test_taking_back_what_is_not_there_names_the_nearest() -> None:
    with pytest.raises(RenameError, match='no field is renamed to "inet_protcol"; did you mean "inet_protocol"'):
        Renames([("protocol", "inet_protocol")]).without("inet_protcol")


def test_half_a_swap_cannot_be_taken_back_alone() -> None:
    swap = Renames([("packets", "bytes"), ("bytes", "packets")])
    with pytest.raises(RenameError, match='cannot rename "bytes" to "packets"'):
        swap.without("bytes")
