"""Every document of every mode keeps to its schema, however the run ended."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hdrh.histogram import HdrHistogram
from twisted.internet.protocol import Protocol

from ctrlserver.load.plan.modes import MODES
from tests.load.command_line import start
from tests.load.documents import validated, validated_events
from tests.load.show.test_junit import suite
from tests.peers import Counting, Echo, Sink, Source
from tests.servers import Servers, refusing

#: Ways to run: the server, and the flags.
WAYS: dict[str, tuple[type[Protocol], str]] = {
    "send": (Sink, ""),
    "send, one write a packet": (Sink, "--no-write-combine"),
    "send, warm-up": (Sink, "-O 0.1"),
    "send, by a rate": (Sink, "-r 200"),
    "send, raw": (Sink, "--framing raw --payload x"),
    "request": (Echo, "-m request -P 3 -q 2"),
    "request, by a rate": (Echo, "-m request -r 200 --arrival poisson"),
    "request, by a profile, warm-up": (Echo, "-m request --profile 60s@50..400 -O 0.1"),
    "receive": (Source, "-m receive"),
    "connect": (Counting, "-m connect -r 50"),
}
AVAILABLE = [name for name in WAYS if name.split(",")[0] in MODES]
ENDS = ("good", "interrupted", "interrupted twice", "failed")


@pytest.fixture
def udp() -> Iterator[str]:
    """A target over UDP that nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"udp:127.0.0.1:{sock.getsockname()[1]}"


async def documents(tmp_path: Path, target: str, flags: str, end: str) -> dict[str, Any]:
    """The result of a run that ends so; all its documents are valid and say the same."""
    result, junit = tmp_path / "result.json", tmp_path / "junit.xml"
    time = "0.3" if end == "good" else "60"
    process = start(
        *("run", target, "-t", time, "-i", "0.1", *flags.split(), "--json-stream"),
        *("-o", str(result), "--junit", str(junit), "--label", "a=<b>"),
    )
    if end.startswith("interrupted"):
        await process.begun
        for _ in range(2 if end.endswith("twice") else 1):
            process.transport.signalProcess("INT")
    code = await process.ended
    assert {"good": 0, "failed": 1}.get(end, 130) == code, process.err
    document = validated(result.read_text())
    events = validated_events(process.out.decode())
    assert (code, document) == (events[-1]["exit_code"], events[-1]["result"])
    found = suite(junit.read_text())
    assert (code != 0) == (int(found.attrib["errors"]) > 0)
    assert end.startswith("interrupted") == document["interrupted"]
    assert (end == "failed") == (document["error"] is not None)
    return document


@pytest.mark.parametrize(
    ("way", "end"), [(way, end) for way in AVAILABLE for end in ENDS if end == "good" or way in MODES]
)
@pytest_twisted.ensureDeferred
async def test_all_documents_are_valid_however_the_run_ends(
    servers: Servers, tmp_path: Path, way: str, end: str
) -> None:
    server, flags = WAYS[way]
    target = refusing().text if end == "failed" else servers.listen(server).text
    document = await documents(tmp_path, target, flags, end)
    for kind in ("response", "service"):
        part = None if document["latency"] is None else document["latency"][kind]
        if part is not None:
            assert_decodes(part, document["latency"]["unit_seconds"])


@pytest.mark.parametrize("end", ["good", "interrupted"])
@pytest.mark.parametrize("flags", ["-l 64", "-l 64 -r 200", "-l 64 --probe -r 200"])
@pytest_twisted.ensureDeferred
async def test_all_documents_over_udp_are_valid_too(tmp_path: Path, udp: str, flags: str, end: str) -> None:
    await documents(tmp_path, udp, flags, end)


def assert_decodes(part: dict[str, Any], unit: float) -> None:
    """The histogram is a standard one, has the percentiles that are printed, and can be added to another."""
    histogram = HdrHistogram.decode(part["hdr"])
    assert part["count"] == histogram.get_total_count()
    if part["count"]:
        for name, share in (("p50", 50), ("p90", 90), ("p99", 99), ("p99_9", 99.9), ("p99_99", 99.99)):
            assert part[name] == pytest.approx(histogram.get_value_at_percentile(share) * unit, rel=0.002)
    histogram.decode_and_add(part["hdr"])
    assert 2 * part["count"] == histogram.get_total_count()
