"""The command line without a run: usage errors, what a shell completes, help and version."""

from __future__ import annotations

from pathlib import Path

import pytest

import ctrlserver
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.load.commands import group as commands
from ctrlserver.load.commands import run as run_command
from tests.load.command_line import refused


@pytest.mark.parametrize("flag", ["--cport", "--nodelay", "--quiet", "--verbose", "--latency", "--bind", "-x"])
def test_a_flag_that_is_like_none_of_ours_gets_no_hint(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert f'unknown option "{flag}"' == refused(capsys, "run", "localhost:1", flag)


@pytest.mark.parametrize("flag", ["--window", "--version-check", "--http2", "-x", "-Z", "--set-mss"])
def test_a_flag_without_an_equal_here_gets_no_hint(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert f'unknown option "{flag}"' == refused(capsys, "search", "localhost:1", flag)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("-c", "streams are -P, and the target takes no flag: ctrlload run HOST:PORT"),
        ("-connections --connections -workers --vus --parallel", "streams are -P"),
        ("-d -z --time", "the duration is -t"),
        ("-b --bitrate --rps --qps --mps", "the rate is -r, such as 5k/s or 10Mbit/s"),
        ("--stage", "rates over time are --profile, such as '10s@1k,60s@1k..50k'"),
        ("-R --reverse", "a download is -m receive"),
        ("--bidir --ping-pong", "both ways is -m request, against an echo server"),
        ("-u --udp", "UDP is the target udp:HOST:PORT"),
        ("--tcp", "TCP is the target HOST:PORT"),
        ("-p --port", "the port is in the target, HOST:PORT"),
        ("-6", "IPv6 is the target [V6]:PORT"),
        ("--length --msg-size", "the size is -l"),
        ("--requests --iterations", "the number of packets is -n"),
        ("--body", "what a packet holds is --payload"),
        ("-timeout --timeout", "it is --connect-timeout or --stall-timeout"),
        ("--threshold", "a condition is --fail-if, such as 'p99>10ms'"),
        ("-j", "the result in JSON is -J"),
        ("--summary-export --logfile", "the result goes to a file with -o"),
    ],
)
def test_a_flag_of_another_tool_is_told_with_its_equal(
    capsys: pytest.CaptureFixture[str], flags: str, words: str
) -> None:
    told = {refused(capsys, "run", "localhost:1", flag, "5") for flag in flags.split()}
    assert {f'unknown option "{flag}": {words}' for flag in flags.split()} == told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("run localhost:1 -rate 100", 'unknown option "-rate"; did you mean "--rate"?'),
        ("run -rate=100 localhost:1", 'unknown option "-rate=100"; did you mean "--rate=100"?'),
        ("run localhost:1 -output x.json", 'unknown option "-output"; did you mean "--output"?'),
        ("run localhost:1 -json", 'unknown option "-json"; did you mean "--json"?'),
        ("run localhost:1 -no-write-combine", 'did you mean "--no-write-combine"?'),
        ("search localhost:1 -m request -from 5", 'unknown option "-from"; did you mean "--from"?'),
        ("compare a b -tolerance 5%", 'unknown option "-tolerance"; did you mean "--tolerance"?'),
        ("plot a -output x.html", 'unknown option "-output"; did you mean "--output"?'),
        ("run localhost:1 \u2013rate 5", 'unknown option "\u2013rate"; did you mean "--rate"?'),
        ("run localhost:1 --RATE 5", 'unknown option "--RATE"; did you mean "--rate"?'),
        ("run localhost:1 -lazy", 'unknown option "-lazy"'),
        ("run localhost:1 -max-workers 5", 'unknown option "-max-workers": streams are -P'),
        ("run -t=5s localhost:1", '"-t=5s": expected no "="; did you mean "-t 5s"?'),
        ("-n 5 localhost:1", 'unknown option "-n": options follow a command, such as ctrlload run TARGET -n 5M'),
    ],
)
def test_a_slip_of_hyphens_is_told_with_the_flag(
    capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    assert words in refused(capsys, *arguments.split())


def test_a_value_may_look_like_a_slip(capsys: pytest.CaptureFixture[str]) -> None:
    assert '--stall-timeout: duration "x"' in refused(
        capsys,
        "run",
        "localhost:1",
        "--payload",
        "-rate",
        "--label",
        "-r=5",
        "-n5",
        "-mrequest",
        "-fline",
        "--stall-timeout",
        "x",
    )


def completed(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is told to offer for the last of ``words``."""
    monkeypatch.setenv("_CTRLLOAD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit):
        commands.exit_code([], Interrupts())
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ctrlload ", ["plain,run", "plain,search", "plain,compare", "plain,plot", "plain,merge", "plain,check"]),
        ("ctrlload run x -m re", ["plain,request", "plain,receive"]),
        ("ctrlload search x --mode S", ["plain,send"]),
        ("ctrlload run x -f int1", ["plain,int16"]),
        ("ctrlload run x --arrival ", ["plain,constant", "plain,poisson"]),
        ("ctrlload run x -o re", ["file,re"]),
        ("ctrlload plot re", ["file,re"]),
        ("ctrlload check re", ["file,re"]),
        ("ctrlload merge re", ["file,re"]),
        ("ctrlload merge x --j", ["plain,--json", "plain,--junit"]),
        ("ctrlload run x --pro", ["plain,--processes", "plain,--profile", "plain,--probe"]),
    ],
)
def test_a_shell_completes_commands_flags_and_values(
    words: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered == completed(words, monkeypatch, capsys)


def test_the_commands_stand_in_the_help_with_a_whole_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == commands.exit_code(["--help"], Interrupts())
    lines = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert ["run", "search", "compare", "plot", "merge", "check"] == [line.split()[0] for line in lines]
    assert all(line.endswith(".") and not line.endswith("..") and len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("run", "TARGET is missing: ctrlload run TARGET [OPTIONS]"),
        ("rnu localhost:1", 'unknown command "rnu"; did you mean "run"?'),
        ("127.0.0.1:22222", 'unknown command "127.0.0.1:22222"; did you mean "ctrlload run 127.0.0.1:22222"?'),
        ("", "missing command: it is one of run, search, compare, plot, merge, check; ctrlload --help says more"),
        ("help", 'unknown command "help": it is one of run, search, compare, plot, merge, check'),
        ("run 127.0.0.1 7", 'TARGET: "127.0.0.1" has no port; did you mean "127.0.0.1:7"?'),
        ("search -P 4 localhost 7 -m request", 'TARGET: "localhost" has no port; did you mean "localhost:7"?'),
        ("127.0.0.1 22222", 'did you mean "ctrlload run 127.0.0.1:22222"?'),
        ("run localhost:1 --packet 5", 'unknown option "--packet"; did you mean "--packets"?'),
        ("run localhost:1 --no-write-combin", 'did you mean "--no-write-combine"?'),
        ("run localhost:1 extra", "got unexpected extra argument"),
        ("run localhost:1 -n", "option '-n' requires an argument"),
        ("run localhost:1 -n 0", "--packets: must be more than 0"),
        ("run localhost:1 -n -1", '--packets: count "-1"'),
        ("run localhost:1 -n 1e99", '--packets: count "1e99"'),
        ("run localhost:1 -n 1.5", '--packets: count "1.5"'),
        ("run localhost:1 -c 10", 'unknown option "-c": streams are -P'),
        ("run localhost:1 -z 10s", 'unknown option "-z": the duration is -t'),
        ("run localhost:1 -b 10M", 'unknown option "-b": the rate is -r'),
        ("run localhost:1 -R", 'unknown option "-R": a download is -m receive'),
        ("search localhost:1 --parallel 5", 'unknown option "--parallel": streams are -P'),
        ("run localhost:1 -u", 'unknown option "-u": UDP is the target udp:HOST:PORT'),
        ("run localhost:1 -l 0", "--size"),
        ("run localhost:1 -l -1", "--size: "),
        ("run localhost:1 -l 1e99", "--size: "),
        ("run localhost:1 -l 64..", "--size: "),
        ("run localhost:1 -t 10x", "--duration: "),
        ("run localhost:1 -t 0", "--duration: must be more than 0"),
        ("run localhost:1 --seed x", '--seed: "x": expected a whole number'),
        ("run localhost:1 -f fxied:1024", '--framing: unknown framing "fxied:1024"; did you mean "fixed:1024"?'),
        ("run localhost:1 -m sned", '--mode: unknown mode "sned"; did you mean "send"?'),
        ("run localhost:1 -m xyzzy", "known are send, request"),
        ("run localhost:1 --fail-if packets", "--fail-if: "),
        ("run localhost:1 --fail-if packt<1", 'did you mean "packets"?'),
        ("run localhost:1 --fail-if received.packets<1", "needs --admin"),
        ("run localhost:1 --fail-if p99>1ms", "needs --mode request"),
        ("run localhost:1 -m request --fail-if response.p99>1ms", "needs --rate or --profile"),
        ("run localhost:1 -m request --fail-if slip.p99>1ms", "needs --rate or --profile"),
        ("run localhost:1 --label site", '--label: "site": expected KEY=VALUE'),
        ("run localhost:1 --label a=1 --label a=2", '--label: "a" is given twice'),
        (r"run localhost:1 --payload \q", "--payload: unknown escape at character 1"),
        ("run localhost:1 --payload @/no/such/file", "--payload: cannot read /no/such/file: No such file or directory"),
        ("run localhost:1 --json-stream -J", "--json-stream: not with --json"),
        ("run localhost:1 --json-stream -o -", "--json-stream: not with --output -"),
        ("run localhost:1 --json-stream -o /dev/stdout", "--output: /dev/stdout is stdout, and so is --json-stream"),
        ("run localhost:1 -J -o /dev/stdout", "--output: /dev/stdout is stdout, and so is --json;"),
        ("run localhost:1 -o - --junit /dev/stdout", "--junit: /dev/stdout is stdout, and so is --output -;"),
        ("run localhost:1 -J --junit -", "--junit: - is stdout, and so is --json;"),
        ("run localhost:1 -o x --junit ./x", "is the file of --output too"),
        ("run localhost:1 --junit /no/such/folder/x", "--junit: there is no directory /no/such/folder"),
        ("run localhost:1 -o /no/such/folder/x", "--output: there is no directory /no/such/folder"),
        ("run localhost", 'TARGET: "localhost" has no port'),
        ("run localhost:0", "TARGET: "),
        ("run udb:127.0.0.1:1", 'TARGET: "udb:127.0.0.1:1" is neither HOST:PORT nor a Twisted client endpoint'),
        ("run localhost:1 --admin localhost", '--admin: "localhost" has no port'),
        ("run localhost:1 --admin x:y:z", '--admin: "x:y:z" is neither HOST:PORT nor'),
        ("run localhost:1 -P 100000000", "open files are needed"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, *arguments.split())


@pytest.mark.parametrize(
    "arguments",
    [
        "run ssl:h:1 --cafile {}",
        "run h:1 --payload @{}",
        "run h:1 --profile @{}",
        "run h:1 -o none/{}",
        "run {}:1",
        "run h:1 --{}",
        "plot {} -o x.html",
        "plot {0} {0} -o x.html",
        "compare {} {}",
        "check {}",
        "merge {}",
        "{}",
    ],
)
def test_whatever_a_word_holds_the_error_is_one_printable_line(
    capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    line = refused(capsys, *(word.replace("{}", "{0}").format("a\x1b[31m\u202e\x9bz") for word in arguments.split()))
    assert line.removesuffix("\n").isprintable()


def test_help_and_version_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == commands.exit_code(["--version"], Interrupts())
    assert f"ctrlload {ctrlserver.__version__}\n" == capsys.readouterr().out
    assert 0 == commands.exit_code(["run", "--help"], Interrupts())
    text = capsys.readouterr().out
    flags = {
        name for param in run_command.run.params for name in (*param.opts, *param.secondary_opts) if name[0] == "-"
    }
    assert [] == [flag for flag in sorted(flags) if flag not in text]
    assert 0 == commands.exit_code(["--help"], Interrupts())
    assert "run" in capsys.readouterr().out
