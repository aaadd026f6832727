"""From one config to another: which ports stay bound, and what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from ctrlserver.config import AdminConfig, Config, HttpConfig, ListenerConfig
from ctrlserver.config.changes import differences, in_the_way, kept_ports, needs_restart, one_port


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("tcp:22222", "tcp:22222", True),
        ("tcp:22222", "tcp:port=22222:backlog=7", True),
        ("tcp:22222", "tcp:22222:interface=0.0.0.0", True),
        ("tcp:22222", "haproxy:tcp:22222", True),
        ("haproxy:tcp:22222", "tcp:22222", True),
        ("tcp:22222", "tcp:22223", False),
        ("tcp:22222", "tcp:22222:interface=127.0.0.1", False),
        ("tcp:22222", "udp:22222", False),
        ("udp:22222", "udp:22222:interface=0.0.0.0", True),
        ("udp:22222", "tcp:22222", False),
        ("udp:1:interface=0.0.0.0", "udp:1", True),
        ("tcp:1:interface=localhost", "tcp:1:interface=127.0.0.1", True),
        (r"tcp:1:interface=\:\:1", r"tcp:1:interface=0\:0\:0\:0\:0\:0\:0\:1", True),
        (r"udp:1:interface=2001\:DB8\:\:1", r"udp:1:interface=2001\:db8\:0\:\:1", True),
        (r"tcp6:1:interface=fe80\:\:1%eth0", r"tcp6:1:interface=fe80\:\:1%eth1", False),
        ("tcp:22222", "unix:22222", False),
        ("unix:/run/x", "unix:/run/x:mode=660", True),
        ("unix:/run/x", "unix:/run/y", False),
        ("unix:/run/x", "unix:/run/./x", True),
        ("unix:address=/run//x", "haproxy:unix:/run/no/../x:mode=660", True),
        ("unix:x", "unix:./x", True),
        ("unix:x", "unix:y", False),
        ("tcp6:22222", "tls:/etc/certificates:22222", True),
        ("tcp:22222", "tls:/etc/certificates:22222", False),
        ("tcp6:443", "tls:/etc/certificates", True),
        ("tls:/etc/certificates:22222", "tls:/etc/others:port=22222", True),
        ("tls:/etc/certificates:22222", "tls:/etc/certificates:22223", False),
    ],
)
def test_two_endpoints_are_one_port_if_they_have_its_address(old: str, new: str, expected: bool) -> None:
    assert expected is one_port(old, new)


def test_a_unix_socket_is_one_port_through_a_linked_folder_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    assert one_port(f"unix:{tmp_path}/link/x", f"unix:{tmp_path}/run/x")
    assert not one_port(f"unix:{tmp_path}/link/x", f"unix:{tmp_path}/x")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([("a", "tcp:1")], [("a", "tcp:1")], [0]),
        ([("a", "tcp:1")], [("b", "tcp:1")], [0]),
        ([("a", "tcp:1")], [("a", "tcp:2")], [None]),
        ([("a", "tcp:1"), ("b", "tcp:2")], [("a", "tcp:2"), ("b", "tcp:1")], [1, 0]),
        ([("a", "tcp:1"), ("b", "tcp:2")], [("a", "tcp:2")], [1]),
        ([("a", "tcp:0")], [("a", "tcp:0"), ("b", "tcp:0")], [0, None]),
        ([("a", "tcp:0"), ("b", "tcp:0")], [("b", "tcp:0"), ("c", "tcp:0")], [1, None]),
        ([("", "tcp:0"), ("", "tcp:0")], [("", "tcp:0"), ("", "tcp:0")], [0, 1]),
        ([("a", "tcp:0")], [("a", "tcp:0:interface=127.0.0.1")], [None]),
        ([("a", "tls:/x:0"), ("b", "tls:/x:0")], [("b", "tls:/x:0"), ("c", "tls:/x:0")], [1, None]),
        ([("a", "unix:0")], [("b", "unix:0")], [0]),
        ([], [("a", "tcp:1")], [None]),
    ],
)
def test_a_port_is_handed_on_by_its_address_and_one_of_the_kernel_s_by_its_name(
    old: list[tuple[str, str]], new: list[tuple[str, str]], expected: list[int | None]
) -> None:
    assert expected == kept_ports(old, new)


def test_the_same_config_has_no_differences() -> None:
    assert [] == list(differences(Config(), Config()))
    assert [] == list(needs_restart(Config(), Config()))


def test_each_listener_admin_port_and_key_that_differs_is_one_line() -> None:
    old = Config(
        listeners=(ListenerConfig(name="a"), ListenerConfig(name="b", endpoint="tcp:2"), ListenerConfig(name="c")),
        admin=(AdminConfig("tcp:5"), AdminConfig("unix:/run/a")),
    )
    new = Config(
        listeners=(
            ListenerConfig(name="a"),
            ListenerConfig(name="b", endpoint="tcp:2", framing="line", idle_timeout=1.5, labels={"site": "x"}),
            ListenerConfig(name="d", endpoint="tcp:4"),
        ),
        admin=(AdminConfig("tcp:6"), AdminConfig("unix:/run/a:mode=660")),
        run_gap=2.0,
        max_streams=7,
        rename=(("protocol", "kind"),),
    )
    assert [
        'listener "b": framing "fixed:1024" -> "line", labels {} -> {site = "x"}, idle_timeout 0 -> 1.5',
        'listener "d": added, tcp:4',
        'listener "c": removed, its open streams go on',
        "admin tcp:6: added",
        'admin unix:/run/a:mode=660: endpoint "unix:/run/a" -> "unix:/run/a:mode=660"',
        "admin tcp:5: removed, its open connections go on",
        "run_gap 1 -> 2",
        "max_streams none -> 7",
        "rename [] -> [protocol -> kind]",
    ] == list(differences(old, new))


def test_batches_of_datagrams_are_switched_by_a_restart_or_on_another_port() -> None:
    one = ListenerConfig(endpoint="tcp:1", udp=True)
    off = evolve(one, udp_gro=False)
    assert ['listener "data": udp_gro needs a restart, or another port'] == list(
        needs_restart(Config(listeners=(one,)), Config(listeners=(off,)))
    )
    other = evolve(off, endpoint="tcp:2")
    assert [] == list(needs_restart(Config(listeners=(one,)), Config(listeners=(other,))))


def test_the_keys_that_are_of_the_start_alone_need_a_restart() -> None:
    assert ["log_format needs a restart"] == list(needs_restart(Config(), Config(log_format="json")))
    after = Config(workers=2, balance="kernel")
    assert ["workers needs a restart", "balance needs a restart"] == list(needs_restart(Config(), after))


@pytest.mark.parametrize(
    ("data", "admin", "expected"),
    [
        ("tcp:1:interface=127.0.0.1", "tcp:2", "; data has tcp:1 until then: give that up in one reload, and take "),
        ("tcp:3", "tcp:1", "; data has tcp:1 until then: "),
        ("tcp:2", "tcp:3", "; the admin port has tcp:2 until then: "),
        ("tcp:3", "tcp:4", ""),
    ],
)
def test_a_port_that_another_of_the_server_has_until_then_is_named(data: str, admin: str, expected: str) -> None:
    old = Config((ListenerConfig(endpoint="tcp:1"),), (AdminConfig("tcp:2"),))
    new = Config((ListenerConfig(endpoint=data),), (AdminConfig(admin),))
    assert in_the_way(old, new).startswith(expected)
    assert bool(expected) is bool(in_the_way(old, new))


@pytest.mark.parametrize(
    ("data", "admin", "wanted_by_admin"),
    [
        ("unix:/run/x", "unix:/run/y", "haproxy:unix:address=/run/./x:mode=660"),
        ("tls:/etc/certificates:1", "tcp:2", "tls:/etc/others:1:interface=127.0.0.1"),
        ("haproxy:tls:/etc/certificates:1", "tcp:2", "tcp:1"),
    ],
)
def test_a_unix_socket_or_tls_port_that_another_of_the_server_has_until_then_is_named_too(
    data: str, admin: str, wanted_by_admin: str
) -> None:
    old = Config((ListenerConfig(endpoint=data),), (AdminConfig(admin),))
    new = Config((ListenerConfig(endpoint=admin),), (AdminConfig(wanted_by_admin),))
    both = [in_the_way(old, new), in_the_way(old, evolve(new, listeners=old.listeners[:0]))]
    assert [
        f"; the admin port has {admin} until then: give that up in one reload, and take {admin} in the next",
        f"; data has {data} until then: give that up in one reload, and take {wanted_by_admin} in the next",
    ] == both


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, None, []),
        (None, HttpConfig("tcp:1"), ["http tcp:1: added"]),
        (HttpConfig("tcp:1"), None, ["http tcp:1: removed, its open connections go on"]),
        (HttpConfig("tcp:1"), HttpConfig("tcp:1", ("lab",)), ["http tcp:1: hosts [] -> [lab]"]),
        (
            HttpConfig("tcp:1"),
            HttpConfig("tcp:2"),
            ["http tcp:2: added", "http tcp:1: removed, its open connections go on"],
        ),
    ],
)
def test_a_line_tells_what_becomes_of_http(old: HttpConfig | None, new: HttpConfig | None, expected: list[str]) -> None:
    assert expected == list(differences(Config(http=old), Config(http=new)))


def test_the_port_that_http_gives_up_is_in_the_way_of_an_admin_port() -> None:
    old, new = Config(http=HttpConfig("tcp:5")), Config(admin=(AdminConfig("tcp:5"),))
    assert "http has tcp:5 until then" in in_the_way(old, new)
