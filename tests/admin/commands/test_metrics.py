"""``metrics``: the sums over labels are ``stats``, and no counter ever goes back."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from ctrlserver.admin.commands.metrics import collect
from ctrlserver.desk import Desk
from ctrlserver.render.openmetrics import OPENMETRICS, PROMETHEUS, text
from ctrlserver.stats.counters import REASONS, Origin
from ctrlserver.stats.records import as_mapping, describe
from tests.admin.conftest import Peer, Server
from tests.pages import ROOT

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(octets: str, form: str = OPENMETRICS) -> Samples:
    families = read_openmetrics(octets) if form == OPENMETRICS else read_text(octets)  # type: ignore[no-untyped-call]
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def exposed(desk: Desk, form: str = OPENMETRICS) -> str:
    return "".join(f"{line}\n" for line in text(collect(desk), form))


def total(samples: Samples, name: str) -> float:
    return sum(value for (called, _), value in samples.items() if called == name)


def busy(server: Server) -> None:
    """Streams of three listeners, open and closed for every reason; one of the listeners is gone."""
    book = server.desk.book
    for at, reason in enumerate((*REASONS, "", "")):
        origin = Origin(("data", "other", "gone")[at % 3], "tcp", "fixed:1024", "sink", 1024)
        stream = book.stream_opened(origin, f"10.0.0.{at}:1", 0.0)
        stream.packets, stream.bytes = at + 1, 1024 * (at + 1)
        if reason:
            book.stream_closed(stream, reason, at, 1.0)
    for number, reason in enumerate(("max-streams", "not-allowed", "draining")):
        book.counters.rejected(reason, number + 1)


def test_the_reply_is_the_text_of_openmetrics_up_to_its_end_and_then_the_status(peer: Peer) -> None:
    *lines, status = peer.asks("metrics")
    assert "# EOF" == lines[-1]
    assert f"OK {len([line for line in lines if not line.startswith('#')])}" == status
    assert samples_of("\n".join([*lines, ""]))


def test_both_forms_have_the_same_samples(server: Server) -> None:
    busy(server)
    one, other = samples_of(exposed(server.desk)), samples_of(exposed(server.desk, PROMETHEUS), PROMETHEUS)
    assert one.keys() == other.keys()
    cpu = ("process_cpu_seconds_total", ()), ("ctrlserver_worker_cpu_seconds_total", (("worker", "1"),))
    assert [] == [key for key in one if one[key] != other[key] and key not in cpu and "memory" not in key[0]]


def test_in_json_each_sample_is_a_row(server: Server, peer: Peer) -> None:
    busy(server)
    rows = peer.asks_json("metrics")["data"]
    assert {"name": "ctrlserver_streams_closed_total", "value": 1, "reason": "slow-reader"} in rows
    assert {"name": "ctrlserver_streams_open", "value": 1, "listener": "other"} in rows
    assert len(samples_of(exposed(server.desk))) == len(rows)


def test_the_sum_over_the_labels_of_a_counter_is_the_field_of_stats(server: Server) -> None:
    busy(server)
    samples, stats = samples_of(exposed(server.desk)), as_mapping(server.desk.book.stats(server.desk.now()))
    for field in (each.name for each in describe() if each.record == "stats" and each.kind == "counter"):
        if field.startswith("closed_"):
            continue
        if field.startswith("rejected_") and field != "rejected_total":
            continue
        assert stats[field] == total(samples, f"ctrlserver_{field}"), field
    assert stats["streams_open"] == total(samples, "ctrlserver_streams_open")
    for reason in REASONS:
        field = f"closed_{reason.replace('-', '_')}_total"
        assert stats[field] == samples["ctrlserver_streams_closed_total", (("reason", reason),)]
    closed = total(samples, "ctrlserver_streams_closed_total")
    assert closed == total(samples, "ctrlserver_streams_total") - total(samples, "ctrlserver_streams_open")
    assert total(samples, "ctrlserver_worker_packets_total") == total(samples, "ctrlserver_packets_total")


def test_what_earlier_starts_counted_is_in_the_sums_too(server: Server) -> None:
    busy(server)
    server.book.lifetime = {"packets_total": 1000, "closed_eof_total": 7, "worker_restarts_total": 2, "runs_total": 3}
    samples, stats = samples_of(exposed(server.desk)), as_mapping(server.desk.book.stats(server.desk.now()))
    assert 1000 == samples["ctrlserver_packets_total", ()]
    for field in ("packets_total", "bytes_total", "worker_restarts_total", "runs_total"):
        assert stats[field] == total(samples, f"ctrlserver_{field}"), field
    assert 8 == samples["ctrlserver_streams_closed_total", (("reason", "eof"),)]


def test_every_number_of_stats_that_is_no_rate_is_a_metric(server: Server) -> None:
    busy(server)
    names = {name for name, _ in samples_of(exposed(server.desk))}
    numbers = {each.name for each in describe() if each.record == "stats" and each.kind in ("counter", "gauge")}
    left_out = {name for name in numbers if f"ctrlserver_{name}" not in names}
    others = {name for name in left_out if name.startswith(("closed_", "rejected_")) or "_per_second" in name}
    assert {"packets", "bytes", "uptime_seconds"} == left_out - others


def test_no_counter_goes_back_over_closes_and_resets(server: Server, peer: Peer) -> None:
    before = samples_of(exposed(server.desk))
    server.stream(5, open=True)
    for change in ("reset", "run start again", "rename packets_total many", "kick 1", "drain on", "reset"):
        peer.asks(change)
        after = samples_of(exposed(server.desk))
        backwards = [key for key in before if key[0].endswith("_total") and after[key] < before[key]]
        assert [] == backwards, change
        before = after


def test_labels_are_listener_worker_and_reason_and_the_version_once(server: Server) -> None:
    busy(server)
    labels = {name for _, pairs in samples_of(exposed(server.desk)) for name, _ in pairs}
    assert {"listener", "worker", "reason", "version"} == labels


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing (Debian package prometheus)")
def test_promtool_finds_nothing_to_say(server: Server) -> None:
    busy(server)
    asked = ["promtool", "check", "metrics"]
    done = subprocess.run(asked, input=exposed(server.desk, PROMETHEUS), capture_output=True, text=True, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_the_page_on_monitoring_has_each_metric_and_each_alert(server: Server) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    shown = set(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    names = {name for row in shown for name in re.findall(r"`(\w+)(?:\{\w+\})?`", row)}
    assert {family.sample_name for family in collect(server.desk)} <= names
    assert set(re.findall(r"- alert: (\w+)", (ROOT / "etc" / "prometheus-rules.yml").read_text())) <= names
