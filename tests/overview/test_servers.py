from __future__ import annotations

from pathlib import Path

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.overview.servers import COMMANDS, OWN, asked, read_servers, server_of, servers_in

LABS = servers_in("lab1 = 10.0.0.1:5\nlab2 = 10.0.0.2:5\n", "labs.txt")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("10.0.0.1:5", "10.0.0.1:5"),
        ("lab1:5", "lab1:5"),
        ("[::1]:5", "[::1]:5"),
        ("10.0.0.1", "10.0.0.1:22223"),
        ("localhost", "localhost:22223"),
        ("lab1.example", "lab1.example:22223"),
        ("[::1]", "[::1]:22223"),
        ("::1", "[::1]:22223"),
        ("/run/admin.sock", "unix:/run/admin.sock"),
        ("./a:b.sock", "unix:./a\\:b.sock"),
        ("run/admin.sock", "unix:run/admin.sock"),
        ("unix:/run/admin.sock", "unix:/run/admin.sock"),
    ],
)
def test_a_server_is_an_address_with_a_usual_port_or_a_path(word: str, text: str) -> None:
    server = server_of(word)
    assert (word, text) == (server.name, server.target.text)


@pytest.mark.parametrize(
    ("words", "servers", "command"),
    [
        ("", "127.0.0.1:22223", "stats"),
        ("a:1", "a:1", "stats"),
        ("a:1 /b stats packets", "a:1 /b", "stats packets"),
        ("STREAMS limit=5", "127.0.0.1:22223", "STREAMS limit=5"),
        ("a:1 wait packets_total>=5 timeout=1s", "a:1", "wait packets_total>=5 timeout=1s"),
        ("a:1 streams peer=10.0.0.1:5", "a:1", "streams peer=10.0.0.1:5"),
        ("a:1 kick 5 b:1", "a:1", "kick 5 b:1"),
        ("a:1 b:1 top", "a:1 b:1", "top"),
        ("top a:1 b:1", "a:1 b:1", "top"),
        ("shell", "127.0.0.1:22223", "shell"),
    ],
)
def test_words_are_servers_up_to_the_first_command(words: str, servers: str, command: str) -> None:
    found = asked(words.split(), {})
    assert servers.split() == [server.name for server in found.servers]
    assert command.split() == list(found.command)


def test_a_command_may_be_one_word_of_the_shell() -> None:
    assert ["run start soak"] == list(asked(["a:1", "run start soak"], {}).command)


@pytest.mark.parametrize(
    ("words", "servers"), [("", "lab1 lab2"), ("lab2", "lab2"), ("lab1 x:1", "lab1 x:1"), ("stats", "lab1 lab2")]
)
def test_of_a_file_all_are_asked_or_those_that_are_named(words: str, servers: str) -> None:
    assert servers.split() == [server.name for server in asked(words.split(), LABS).servers]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("stast", '"stast" is neither a server (HOST:PORT, the path of a unix socket, a name in --servers) nor a comm'),
        ("stast", '; did you mean "stats"?'),
        ("tpo", '; did you mean "top"?'),
        ("lab2 stats", '; did you mean "lab2:22223"?'),
        ("lab stats", '; did you mean "lab2"?'),
        ("a:1 bench stats", '; did you mean "bench:22223"?'),
        ("gauges", '"gauges" is neither a server'),
        ("5", "nor a command (ctrlstat HOST:PORT help lists them)"),
        ("a:1 a:1", '"a:1" is given twice'),
        ("lab1: stats", '"lab1:" has no port'),
        ("[::1:5", ""),
        ("udp:a:1", "an admin port is asked over TCP or a unix socket"),
        ("a:1 top b:1", '"b:1": servers stand before top, or all of them after it'),
        ("top stats", '"stats" is neither a server'),
    ],
)
def test_what_is_neither_a_server_nor_a_command_is_one_line_with_the_nearest_good_form(words: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked(words.split(), {} if words.startswith("lab2") else LABS)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_has_a_server_a_line_with_or_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "labs.txt"
    path.write_text(
        "# our labs\nlab1 = 10.0.0.1:5  # the first\n\n  lab2=[::1]\nbench\n/run/a=b.sock\nold = 10.9.0.1\n"
    )
    found = {name: server.target.text for name, server in read_servers(str(path)).items()}
    assert {
        "lab1": "10.0.0.1:5",
        "lab2": "[::1]:22223",
        "bench:22223": "bench:22223",
        "/run/a=b.sock": "unix:/run/a=b.sock",
        "old": "10.9.0.1:22223",
    } == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lab1 = a:1\nlab1 = b:1\n", '"labs.txt", line 2: "lab1" is there twice'),
        ("# nothing\n", '"labs.txt" has no server: expected one a line, such as "lab1 = 10.0.0.1:22223"'),
        ("lab1 = a:99999\n", "line 1: "),
        ("stats = a:1\n", '"stats" is no name for a server: it has a meaning already'),
        ("total = a:1\n", '"total" is no name for a server'),
        ("my lab = a:1\n", '"my lab" is no name: expected letters, digits'),
        ("lab1 a:1\n", "expected one server a line"),
        ("lab1 =\n", "line 1: "),
        ("\x1b[31m = a:1\n", '"\\x1b[31m" is no name'),
        ("".join(f"a{number}:1\n" for number in range(1001)), "has more than 1000 servers"),
    ],
)
def test_a_file_that_is_no_good_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        servers_in(text, "labs.txt")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    (tmp_path / "big").write_bytes(b"#" * ((1 << 20) + 1))
    for name, told in (("no", "No such file"), (".", "Is a directory"), ("x", "UTF-8"), ("big", "has more than")):
        with pytest.raises(UsageError, match=told):
            read_servers(str(tmp_path / name))


def test_no_name_of_a_server_can_be_a_command_of_ours() -> None:
    assert set() == set(COMMANDS) & set(OWN)
