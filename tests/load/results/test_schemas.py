from __future__ import annotations

from ctrlserver.load.results.result import as_document
from ctrlserver.load.results.schemas import number_at, number_paths
from tests.load.results.test_result import FULL


def test_the_numbers_of_a_document_are_found_in_its_schema() -> None:
    paths = number_paths()
    assert len(paths) == len(set(paths))
    for expected in (("sent", "packets"), ("latency", "response", "p99_9"), ("schedule", "slip", "max")):
        assert expected in paths
    assert [] == [path for path in paths if path[0] in ("options", "environment", "intervals", "streams", "thresholds")]


def test_a_number_is_read_where_there_is_one() -> None:
    document = as_document(FULL)
    assert 10 == number_at(document, ("sent", "packets"))
    assert number_at(document, ("latency", "service", "p99")) is None
    assert number_at(document, ("interrupted",)) is None
    assert number_at(document, ("target",)) is None
