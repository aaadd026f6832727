from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import evolve

from ctrlserver.config import AdminConfig, Config, HttpConfig, ListenerConfig, load_config, override
from ctrlserver.errors import ConfigError, FramingSpecError
from ctrlserver.wire.framing import parse_framing
from tests.certificates import made, pem_of
from tests.config.messages import one_line_of

TEACHER = Path(__file__).resolve().parent.parent / "etc" / "ctrlserver.toml"


def written(folder: Path, text: str) -> Path:
    path = folder / "ctrlserver.toml"
    path.write_text(text)
    return path


def message_of(folder: Path, text: str) -> str:
    """The error for a file with ``text``, without the file's name in front of it."""
    path = written(folder, text)
    return one_line_of(lambda: load_config(path), f"{path}: ")


# The file that teaches


def test_the_shipped_file_is_the_default_in_every_value() -> None:
    assert Config() == load_config(TEACHER)


def test_the_shipped_file_loads_with_its_optional_keys_in_use(tmp_path: Path) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    text = re.sub(r"^#(?=[\[a-z])", "", TEACHER.read_text(), flags=re.MULTILINE)
    secret = Path(written(tmp_path, "0123456789abcdef")).rename(tmp_path / "secret")
    secret.chmod(0o600)
    authority = tmp_path / "lab-ca.pem"
    authority.write_bytes(pem_of(made("lab", authority=True)))
    text = text.replace("/etc/ctrlserver/admin.secret", str(secret)).replace("lab-ca.pem", str(authority))

    expected = Config(
        listeners=(ListenerConfig(protocol="HTTP", labels={"site": "lab-2", "rack": 7}, inject_ca=str(authority)),),
        admin=(AdminConfig(level="operator", auth=str(secret)),),
        http=HttpConfig(hosts=("lab.example.org",)),
        expected_packets=10_000,
        max_streams=10_000,
        memory_limit=1 << 30,
        history="/var/lib/ctrlserver/history.sqlite3",
        rename=(("protocol", "inet_protocol"),),
    )
    assert expected == load_config(written(tmp_path, text))


def test_the_shipped_file_names_every_key_of_the_tree() -> None:
    """Each as ``key =`` in its own table, in use or behind a ``#``."""
    text = TEACHER.read_text()
    top, _, rest = text.partition("\n[[listener]]\n")
    listener, _, rest = rest.partition("\n[[admin]]\n")
    admin, _, http = rest.partition("\n#[http]\n")
    for part, kind, tables in (
        (top, Config, {"listeners", "admin", "http", "rename"}),
        (listener, ListenerConfig, {"labels"}),
        (admin, AdminConfig, set()),
        (http, HttpConfig, set()),
    ):
        for field in attrs.fields(kind):
            if field.name not in tables:
                assert re.search(rf"^#?{field.name} = ", part, re.MULTILINE), field.name
    assert "\n#[listener.labels]\n" in listener
    assert "\n[rename]\n" in http


def test_every_endpoint_and_framing_the_shipped_file_shows_is_good() -> None:
    shown = re.findall(r"""^#   ["']((?:tcp|unix)\S+)["']""", TEACHER.read_text(), re.MULTILINE)
    framings = re.search(r"(# How the bytes.*?)\nframing =", TEACHER.read_text(), re.DOTALL)

    assert 5 == len(shown)
    for endpoint in shown:
        assert override(Config(), data=endpoint).listeners[0].endpoint == endpoint
    assert framings is not None
    named = re.findall(r'"([^" ]+)"', framings[1])
    assert named
    for name in named:
        parse_framing(name)


# Files


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert Config() == load_config(written(tmp_path, ""))


def test_every_value_of_a_file_arrives(tmp_path: Path) -> None:
    text = r"""
        workers = 2
        balance = "kernel"
        run_gap = "2s"
        expected_packets = "5M"
        max_streams = "1k"
        memory_limit = "64MiB"
        history = "runs.sqlite3"
        history_runs = "5k"
        history_age = "90d"
        keep_totals = true
        log_format = "json"
        log_level = "warn"
        [[listener]]
        name = "web"
        endpoint = "unix:/run/web.sock"
        framing = "line"
        mode = "reply"
        reply = 'OK\r\n'
        protocol = "HTTP"
        labels = { site = "lab-2", rack = 7, spare = false, share = 0.5 }
        max_packet = "64KiB"
        reply_buffer = 1000
        keep = 10
        keep_bytes = "2kB"
        stall_timeout = "500ms"
        idle_timeout = "2m"
        max_streams_per_peer = 3
        allow = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]
        [[listener]]
        endpoint = "tcp:0"
        [[admin]]
        endpoint = "tcp:1"
        [[admin]]
        endpoint = "tcp:2"
        [rename]
        protocol = "peer"
        peer = "protocol"
    """
    web = ListenerConfig(
        name="web",
        endpoint="unix:/run/web.sock",
        framing="line",
        mode="reply",
        reply=r"OK\r\n",
        protocol="HTTP",
        labels={"site": "lab-2", "rack": 7, "spare": False, "share": 0.5},
        max_packet=65536,
        reply_buffer=1000,
        keep=10,
        keep_bytes=2000,
        stall_timeout=0.5,
        idle_timeout=120.0,
        max_streams_per_peer=3,
        allow=("10.0.0.0/8", "fd00::/8", "192.0.2.7"),
    )
    expected = Config(
        listeners=(web, ListenerConfig(endpoint="tcp:0")),
        admin=(AdminConfig("tcp:1"), AdminConfig("tcp:2")),
        workers=2,
        balance="kernel",
        run_gap=2.0,
        expected_packets=5_000_000,
        max_streams=1_000,
        memory_limit=64 << 20,
        history="runs.sqlite3",
        history_runs=5_000,
        history_age=90 * 86400.0,
        keep_totals=True,
        log_format="json",
        log_level="warn",
        rename=(("protocol", "peer"), ("peer", "protocol")),
    )

    assert expected == load_config(written(tmp_path, text))
    assert ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"] == [str(network) for network in web.networks]
    assert b"OK\r\n" == web.reply_bytes
    assert web.framing_spec == parse_framing("line", max_packet=65536)


def test_a_server_may_have_no_admin_port(tmp_path: Path) -> None:
    assert () == load_config(written(tmp_path, "admin = []")).admin


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ('run_gp: unknown key; did you mean "run_gap"?', "run_gp = 1"),
        (
            "colour: unknown key: expected one of workers, balance, run_gap, expected_packets, max_streams,"
            " memory_limit, drain_timeout, history, history_runs, history_age, keep_totals,"
            " log_format, log_level, rename, listener, admin",
            "colour = 1",
        ),
        ('"a b": unknown key', '"a b" = 1'),
        ('listner: unknown table; did you mean "listener"?', "[[listner]]"),
        ('renames: unknown table; did you mean "rename"?', "[renames]\nprotocol = 'a'"),
        ('listener[0].framming: unknown key; did you mean "framing"?', "[[listener]]\nframming = 'line'"),
        ('listener[0].label: unknown table; did you mean "labels"?', "[[listener]]\n[listener.label]\na = 1"),
        ("framing: unknown key here; did you mean it below [[listener]]?", "framing = 'line'"),
        ("endpoint: unknown key here; did you mean it below [[listener]]?", "endpoint = 'tcp:1'"),
        (
            "listener[0].run_gap: unknown key here; did you mean it before the first [[listener]]?",
            "[[listener]]\nrun_gap = 1",
        ),
        ("admin[0].mode: unknown key here; did you mean it below [[listener]]?", "[[admin]]\nmode = 'sink'"),
        ("admin[0].port: unknown key: expected one of endpoint", "[[admin]]\nport = 1"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_or_its_place(expected: str, text: str, tmp_path: Path) -> None:
    assert message_of(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("listener: a table: expected an array of tables, each below a line [[listener]]", "[listener]\nname = 'a'"),
        ("listener: 3: expected an array of tables", "listener = 3"),
        ("listener[1]: 1: expected a table", "listener = [{}, 1]"),
        ("listener: an empty array: expected at least one [[listener]] table", "listener = []"),
        ('admin: "tcp:1": expected an array of tables, each below a line [[admin]]', "admin = 'tcp:1'"),
        ("run_gap: duration true: expected seconds", "run_gap = true"),
        (
            'listener[0].framing: 1024: expected a framing such as "fixed:1024"; did you mean',
            "[[listener]]\nframing = 1024",
        ),
        ("listener[0].keep: count -1: expected a whole number", "[[listener]]\nkeep = -1"),
        ("listener[1].stall_timeout: 0: expected", "[[listener]]\n[[listener]]\nstall_timeout = 0"),
        ("listener[0].labels.peer: every stream record has a field", "[[listener]]\n[listener.labels]\npeer = 1"),
        ('admin[0].endpoint: endpoint "tpc:1": unknown type "tpc"', "[[admin]]\nendpoint = 'tpc:1'"),
        (
            'listener[0].allow[1]: "10.0.0.1/8": expected a network such as "10.0.0.0/8" or "fd00::/8"; '
            'did you mean "10.0.0.0/8"?',
            '[[listener]]\nallow = ["::1", "10.0.0.1/8"]',
        ),
        ("listener[0].allow[0]: 10: expected a network", "[[listener]]\nallow = [10]"),
        ("rename.protocol: 3: expected the new name", "[rename]\nprotocol = 3"),
    ],
)
def test_a_bad_value_is_told_with_its_key(expected: str, text: str, tmp_path: Path) -> None:
    assert message_of(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (
            'listener[0].framing: unknown framing "fxied:1024"; did you mean "fixed:1024"?',
            "[[listener]]\nframing = 'fxied:1024'",
        ),
        ('listener[0].framing: framing "fixed:0": the size must be 1 to', "[[listener]]\nframing = 'fixed:0'"),
        ("listener[0].mode: ", "[[listener]]\nmode = 'reply'\nframing = 'raw'"),
        ("rename.protocol: ", "[rename]\nprotocol = 'peer'"),
    ],
)
def test_values_that_do_not_go_together_are_told_with_the_key_to_blame(
    expected: str, text: str, tmp_path: Path
) -> None:
    assert message_of(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("listener[0].max_packet: ", "[[listener]]\nmax_packet = 512"),
        ("listener[0].endpoint: ", "[[listener]]\nendpoint = 'tcp:22223:interface=127.0.0.1'"),
        ("listener[0].name: ", "[[listener]]\nname = 'data'\nendpoint = 'tcp:0'\n[[listener]]"),
    ],
)
def test_a_default_is_not_blamed_where_the_file_wrote_the_other_value(expected: str, text: str, tmp_path: Path) -> None:
    assert message_of(tmp_path, text).startswith(expected)


def test_a_broken_file_is_told_by_its_name(tmp_path: Path) -> None:
    assert message_of(tmp_path, "a = \n").startswith("line 1, column 5: not TOML")


# Flags


def test_no_flag_changes_nothing() -> None:
    assert Config() == override(Config())


def test_flags_beat_the_file_in_the_first_listener_and_the_first_admin_listener() -> None:
    config = Config(
        listeners=(ListenerConfig(keep=3), ListenerConfig(name="other", endpoint="tcp:1")),
        admin=(AdminConfig(), AdminConfig("tcp:2")),
    )

    flags = {"data": "tcp:3", "framing": "line", "mode": "reply", "reply": r"OK\n", "inject": ["3*reset", "swallow"]}
    changed = override(config, admin="tcp:4", **flags)  # type: ignore[arg-type]

    first = ListenerConfig(keep=3, endpoint="tcp:3", framing="line", mode="reply", reply=r"OK\n")
    first = evolve(first, inject=("3*reset", "swallow"))
    assert Config(listeners=(first, config.listeners[1]), admin=(AdminConfig("tcp:4"), config.admin[1])) == changed


def test_the_admin_flag_opens_a_port_where_the_file_has_none() -> None:
    assert override(Config(admin=()), admin="tcp:4").admin == (AdminConfig("tcp:4"),)


def test_http_is_off_until_a_flag_or_the_file_asks_for_it() -> None:
    assert Config().http is None
    assert HttpConfig("tcp:4") == override(Config(), http="tcp:4").http
    assert HttpConfig("tcp:4", ("lab",)) == override(Config(http=HttpConfig("tcp:5", ("lab",))), http="tcp:4").http
    with pytest.raises(ConfigError, match=r"^--http: endpoint"):
        override(Config(), http="9464")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[http]", ""),
        ("[[http]]", "http: an array: expected a table, below a line [http]"),
        ("http = 9464", "http: 9464: expected a table, below a line [http]"),
        ("[http]\nport = 9464", "http.port: unknown key: expected one of endpoint, hosts"),
        ("[http]\nworkers = 2", "http.workers: unknown key here; did you mean it before the first [http]?"),
        ("hosts = []", "hosts: unknown key here; did you mean it below [http]?"),
        ('[http]\nhosts = ["http://lab:9464/"]', 'http.hosts[0]: "http://lab:9464/": expected a host name'),
    ],
)
def test_the_table_of_http_is_there_once(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    if not expected:
        assert HttpConfig() == load_config(path).http
        return
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("expected", "flags"),
    [
        ('--data: endpoint "22222": unknown type "22222"', {"data": "22222"}),
        ('--framing: unknown framing "fxied:1024"; did you mean "fixed:1024"?', {"framing": "fxied:1024"}),
        ('--framing: framing "fixed:1e99"', {"framing": "fixed:1e99"}),
        ('--mode: unknown mode "rely": expected sink, echo, reply or source; did you mean "reply"?', {"mode": "rely"}),
        ("--reply: unknown escape at character 1", {"reply": r"\q"}),
        ('--admin: endpoint "tcp:70000": port "70000"', {"admin": "tcp:70000"}),
        ("--mode: mode ", {"mode": "reply", "framing": "raw"}),
        ("--reply: ", {"mode": "reply", "reply": ""}),
        ('--admin: "tcp:22222" is the endpoint of both', {"admin": "tcp:22222"}),
        ("--data: ", {"data": "tcp:22223:interface=127.0.0.1"}),
        ('--inject: "dealy" at 1; did you mean "delay"?', {"inject": ["dealy"]}),
        ('--inject: "swallow" needs replies', {"inject": ["3*reset", "swallow"]}),
    ],
)
def test_a_bad_flag_is_told_by_its_name(expected: str, flags: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Config(), **flags)

    assert str(caught.value).startswith(expected)
    assert 1 == len(str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("flag", "first", "flags"),
    [
        ("--mode", ListenerConfig(framing="raw"), {"mode": "reply"}),
        ("--framing", ListenerConfig(mode="reply"), {"framing": "raw"}),
        ("--framing", ListenerConfig(keep=1), {"framing": "raw"}),
        ("--framing", ListenerConfig(max_packet=2048), {"framing": "fixed:4096"}),
        ("--mode", ListenerConfig(reply=""), {"mode": "reply"}),
        ("--mode", ListenerConfig(mode="echo", inject=("swallow",)), {"mode": "sink"}),
    ],
)
def test_a_flag_that_does_not_go_with_the_file_is_to_blame(
    flag: str, first: ListenerConfig, flags: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"^{flag}: "):
        override(Config(listeners=(first,)), **flags)


# The tree


def test_the_default_reply_is_one_acknowledge_byte() -> None:
    assert b"\x06" == ListenerConfig().reply_bytes


def test_a_framing_is_bounded_by_max_packet() -> None:
    with pytest.raises(FramingSpecError):
        _ = ListenerConfig(framing="fixed:2000", max_packet=1000).framing_spec


def test_labels_are_published_names() -> None:
    config = Config(listeners=(ListenerConfig(labels={"site": "lab-2"}),), rename=(("site", "place"),))

    assert "site" in config.published_names
    assert "place" == config.renames.renamed("site")
