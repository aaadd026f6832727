from __future__ import annotations

import pytest

from ctrlserver.inject.orderer import CONFIG, Orderer


@pytest.mark.parametrize(("by", "text"), [(CONFIG, "the config"), (Orderer("unix", "admin"), "unix (admin)")])
def test_who_ordered_is_told_with_the_level_where_there_is_one(by: Orderer, text: str) -> None:
    assert text == by.text
