from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_twisted

from tests.load.command_line import finished, start
from tests.load.documents import validated
from tests.peers import Admin, Counting, Echo, Silent, Sink
from tests.servers import Servers, refusing


@pytest_twisted.ensureDeferred
async def test_the_2013_test_prints_time_number_and_rate_first(servers: Servers) -> None:
    code, out, err = await finished("run", servers.listen(Sink).text)
    assert 0 == code
    assert out.startswith("total time ")
    assert "number of packets 10000, rate " in out.splitlines()[0]
    assert "10000 packets" in err
    assert 10_240_000 == servers.bytes


@pytest_twisted.ensureDeferred
async def test_json_is_the_document_on_stdout_and_words_on_stderr(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    target, admin = servers.listen(Counting).text, servers.listen(Admin).text
    code, out, err = await finished(
        *("run", target, "-n", "2_000", "-P", "4", "--admin", admin, "-J", "-o", str(place)),
        *("--label", "site=lab", "--fail-if", "packets<1k"),
    )
    assert 0 == code
    document = validated(out)
    assert document == validated(place.read_text())
    assert (2000, True, {"site": "lab"}) == (
        document["received"]["packets"],
        document["reconciled"],
        document["labels"],
    )
    assert "total time" in err
    assert "Traceback" not in err


@pytest_twisted.ensureDeferred
async def test_a_payload_may_come_from_a_file(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "packet.bin"
    place.write_bytes(b"\x00\x01raw")
    code, _, _ = await finished("run", servers.listen(Sink).text, "-n", "10", "--payload", f"@{place}")
    assert (0, 50) == (code, servers.bytes)


@pytest_twisted.ensureDeferred
async def test_a_target_that_refuses_is_one_line_exit_1_and_a_valid_document() -> None:
    target = refusing().text
    code, out, err = await finished("run", target, "-J")
    line = f"cannot connect to {target}: connection refused: nothing listens there"
    assert (1, line) == (code, validated(out)["error"])
    assert f"ctrlload: {line}\n" == err


@pytest_twisted.ensureDeferred
async def test_a_difference_is_exit_3_and_a_condition_that_held_exit_4(servers: Servers) -> None:
    target, admin = servers.listen(Counting).text, servers.listen(Admin).text
    code, out, err = await finished("run", target, "-n", "10", "--fail-if", "packets<1k")
    assert (4, "ctrlload: --fail-if packets<1k held") == (code, err.splitlines()[-1])
    assert "packets<1k: FAILED, the value is 10" in out
    servers.tamper = lambda record: record.update(packets=3)
    code, out, err = await finished("run", target, "-n", "10", "--admin", admin)
    assert 3 == code
    assert "7 packets fewer" in err.splitlines()[-1]


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP"])
@pytest_twisted.ensureDeferred
async def test_a_signal_ends_the_sending_and_the_report_is_whole(servers: Servers, number: str) -> None:
    process = start("run", servers.listen(Sink).text, "-t", "60", "-i", "0.1", "-J")
    await process.begun
    process.transport.signalProcess(number)
    assert 130 == await process.ended
    document = validated(process.out.decode())
    assert document["interrupted"] is True
    assert document["sent"]["packets"] > 0
    assert {"ended"} == {stream["reason"] for stream in document["streams"]}


@pytest_twisted.ensureDeferred
async def test_a_second_signal_leaves_at_once_and_the_document_is_valid(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    target = servers.listen(Silent).text
    process = start("run", target, "-m", "request", "-i", "0.1", "-o", str(place))
    await process.begun
    process.transport.signalProcess("INT")
    process.transport.signalProcess("TERM")
    assert 130 == await process.ended, process.err
    assert validated(place.read_text())["interrupted"] is True


@pytest_twisted.ensureDeferred
async def test_on_a_terminal_a_bar_is_drawn(servers: Servers) -> None:
    process = start("run", servers.listen(Sink).text, "-t", "0.8", terminal=True)
    assert 0 == await process.ended
    assert b"sending" in process.out
    assert b"total time" in process.out


@pytest_twisted.ensureDeferred
async def test_a_reader_of_stdout_that_has_gone_is_no_error(servers: Servers) -> None:
    process = start("run", servers.listen(Echo).text, "-J")
    process.transport.closeStdout()
    assert 0 == await process.ended
    assert b"Traceback" not in process.err


@pytest.mark.parametrize(
    ("redirect", "why"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
@pytest_twisted.ensureDeferred
async def test_a_stdout_that_cannot_be_written_is_one_line_exit_1_and_on_stderr(
    servers: Servers, redirect: str, why: str
) -> None:
    for flag in ("-J", "--json-stream"):
        process = start("run", servers.listen(Sink).text, "-n", "10", "-i", "0", flag, redirect=redirect)
        assert 1 == await process.ended
        err = process.err.decode()
        assert f"ctrlload: cannot write to stdout: {why}" == err.splitlines()[-1]
        assert 10 == json.JSONDecoder().raw_decode(err)[0]["sent"]["packets"]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
@pytest_twisted.ensureDeferred
async def test_a_help_that_cannot_be_written_is_one_line_and_exit_1(arguments: list[str]) -> None:
    process = start(*arguments, redirect=">/dev/full")
    assert 1 == await process.ended
    assert "ctrlload: cannot write to stdout: No space left on device\n" == process.err.decode()


@pytest_twisted.ensureDeferred
async def test_an_output_of_a_dash_is_stdout_and_no_file(servers: Servers, tmp_path: Path) -> None:
    process = start("run", servers.listen(Sink).text, "-n", "10", "-o", "-", folder=tmp_path)
    assert 0 == await process.ended
    assert 10 == validated(process.out.decode())["sent"]["packets"]
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
@pytest_twisted.ensureDeferred
async def test_a_stderr_that_cannot_be_written_ends_nothing(servers: Servers, redirect: str) -> None:
    process = start("run", servers.listen(Sink).text, "-t", "0.3", "-i", "0.1", "-J", redirect=redirect)
    assert 0 == await process.ended
    assert validated(process.out.decode())["sent"]["packets"] > 0
