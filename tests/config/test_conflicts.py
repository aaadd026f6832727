from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.config.conflicts import conflicts
from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig


def first(config: Config) -> tuple[tuple[str, ...], str]:
    return next(iter(conflicts(config)))


def test_the_default_config_has_no_conflict() -> None:
    assert [] == list(conflicts(Config()))


STRIKES = ("inject", "mode", "framing", "endpoint", "reply", "reply_buffer", "udp")


@pytest.mark.parametrize(
    ("keys", "expected", "values"),
    [
        (("mode", "framing"), 'framing "raw" has none', {"mode": "reply", "framing": "raw"}),
        (("reply", "mode"), "an empty reply", {"mode": "reply", "reply": ""}),
        (
            ("reply", "reply_buffer", "mode"),
            "at most the reply_buffer, 2 bytes",
            {"mode": "reply", "reply": "abc", "reply_buffer": 2},
        ),
        (("keep", "framing"), 'framing "raw" has no packets to keep', {"keep": 1, "framing": "raw"}),
        (("mode", "udp", "endpoint"), 'mode "source" sends to streams', {"mode": "source", "udp": True}),
        (("mode", "framing"), 'framing "line" has none', {"mode": "source", "framing": "line"}),
        (("keep", "mode"), 'mode "source" receives no packets', {"mode": "source", "keep": 1}),
        (("probe", "framing"), 'framing "raw" has no packets to look into', {"probe": True, "framing": "raw"}),
        (("probe", "framing", "max_packet"), "begin with 24 bytes", {"probe": True, "framing": "fixed:23"}),
        (STRIKES, '"swallow" needs replies; listener "data" is a sink', {"inject": ("3*reset", "swallow")}),
        (STRIKES, '"3*reset" counts packets', {"inject": ("3*reset",), "framing": "raw"}),
        (STRIKES, '"reorder" needs datagrams', {"inject": ("reorder",), "mode": "echo"}),
        (STRIKES, '"expired" needs TLS', {"inject": ("expired",)}),
        (("framing", "max_packet"), 'did you mean "fixed:1024"?', {"framing": "fxied:1024"}),
        (("framing", "max_packet"), "1 to 512 bytes", {"max_packet": 512}),
    ],
)
def test_values_of_a_listener_that_do_not_go_together_are_told(
    keys: tuple[str, ...], expected: str, values: dict[str, Any]
) -> None:
    given, message = first(Config(listeners=(ListenerConfig(**values),)))

    assert tuple(f"listener[0].{key}" for key in keys) == given
    assert expected in message


HOME = "tcp:5:interface=127.0.0.1"
HOME6 = r"tcp:5:interface=\:\:1"


@pytest.mark.parametrize(
    ("data", "admin"),
    [
        ("tcp:5", HOME),
        (HOME, "tcp:5"),
        ("tcp6:5", HOME),
        (HOME6, "tcp6:5"),
        ("tcp:5", "tcp:5:interface=0.0.0.0"),
        ("haproxy:tcp:5", HOME),
        ("ssl:5:privateKey=x.pem", HOME),
        (r"tcp:5:interface=0\:\:1", HOME6),
        ("tcp:5:interface=localhost", HOME),
        ("unix:/run/x", "unix:/run/./x"),
        ("unix:/run/x", "unix:/run/x:mode=660"),
        ("haproxy:unix:x", "unix:address=./x"),
    ],
)
def test_a_port_that_is_part_of_another_is_told(data: str, admin: str) -> None:
    config = Config(listeners=(ListenerConfig(endpoint=data),), admin=(AdminConfig(admin),))
    keys, message = first(config)

    assert ("admin[0].endpoint", "listener[0].endpoint") == keys
    assert message.endswith(" of admin[0] are one port: expected one for each")


def test_a_udp_port_that_another_has_is_told() -> None:
    one, other = ListenerConfig(endpoint="udp:5"), ListenerConfig(name="b", endpoint=HOME, udp=True)
    keys, message = first(Config(listeners=(one, other)))

    assert ("listener[1].endpoint", "listener[0].endpoint") == keys
    assert "are one port" in message


@pytest.mark.parametrize(
    ("data", "admin"),
    [
        ("udp:5", "tcp:5"),
        ("tcp:5", HOME6),
        (HOME, "tcp:5:interface=127.0.0.2"),
        ("tcp:0", "tcp:0"),
        ("unix:/a", HOME),
        ("unix:/run/x", "unix:/run/y"),
    ],
)
def test_ports_that_can_both_be_bound_are_no_conflict(data: str, admin: str) -> None:
    config = Config(listeners=(ListenerConfig(endpoint=data),), admin=(AdminConfig(admin),))
    assert [] == list(conflicts(config))


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "echo", "framing": "raw"},
        {"reply": ""},
        {"mode": "reply", "framing": "line"},
        {"keep": 5},
        {"probe": True},
    ],
)
def test_values_that_go_together_are_no_conflict(values: dict[str, Any]) -> None:
    assert [] == list(conflicts(Config(listeners=(ListenerConfig(**values),))))


def test_two_listeners_of_one_name_are_told_with_a_free_name() -> None:
    names = ("data", "data2", "data")
    config = Config(listeners=tuple(ListenerConfig(name=name, endpoint="tcp:0") for name in names))

    assert (
        ("listener[2].name", "listener[0].name"),
        '"data" is the name of both listener[0] and listener[2]: expected one for each; '
        'did you mean "data3" for the second?',
    ) == first(config)


def test_one_endpoint_for_two_is_told() -> None:
    config = Config(listeners=(ListenerConfig(endpoint="tcp:22223"),), admin=(AdminConfig("tcp:22223"),))

    assert (
        ("admin[0].endpoint", "listener[0].endpoint"),
        '"tcp:22223" is the endpoint of both listener[0] and admin[0]: expected one for each',
    ) == first(config)


def test_any_port_may_be_asked_for_twice() -> None:
    config = Config(listeners=(ListenerConfig(endpoint="tcp:0"),), admin=(AdminConfig("tcp:0"),))

    assert [] == list(conflicts(config))


@pytest.mark.parametrize(
    ("key", "expected", "pairs"),
    [
        ("rename.protocl", 'did you mean "protocol"?', [("protocl", "a")]),
        ("rename.protocol", '"peer" is another field\'s name', [("protocol", "peer")]),
        ("rename.protocol", '"peer" is another field\'s name', [("mode", "m"), ("protocol", "peer"), ("size", "s")]),
        ("rename.peer", '"protocol" and "peer" are both renamed to "a"', [("protocol", "a"), ("peer", "a")]),
        ("rename.mode", 'cannot rename "mode" to "a b"', [("mode", "a b"), ("size", "c d")]),
        ("rename.protocol", '"site" is another field\'s name', [("protocol", "site")]),
        ('rename."a b"', "unknown field", [("a b", "c")]),
    ],
)
def test_a_bad_rename_is_told_with_its_key(key: str, expected: str, pairs: list[tuple[str, str]]) -> None:
    config = Config(listeners=(ListenerConfig(labels={"site": "lab-2"}),), rename=tuple(pairs))

    keys, message = first(config)

    assert (key,) == keys
    assert expected in message


def test_a_swap_and_a_renamed_label_are_no_conflict() -> None:
    pairs = (("protocol", "peer"), ("peer", "protocol"), ("site", "place"))
    config = Config(listeners=(ListenerConfig(labels={"site": "lab-2"}),), rename=pairs)

    assert [] == list(conflicts(config))
    assert "place" == config.renames.renamed("site")


@pytest.mark.parametrize(
    ("endpoint", "level", "most"),
    [
        ("tcp:5", "operator", "viewer"),
        ("tcp:5", "admin", "viewer"),
        (HOME, "admin", "operator"),
        (HOME6, "admin", "operator"),
        ("haproxy:tcp:5:interface=127.0.0.1", "operator", "viewer"),
    ],
)
def test_a_level_that_the_port_cannot_have_without_a_secret_is_told(endpoint: str, level: str, most: str) -> None:
    keys, message = first(Config(admin=(AdminConfig(endpoint, level),)))

    assert ("admin[0].level", "admin[0].endpoint", "admin[0].auth") == keys
    assert message.endswith(f'expected auth = "FILE", or at most "{most}"; did you mean level = "{most}"?')


@pytest.mark.parametrize(
    "admin",
    [
        AdminConfig("tcp:5", "viewer"),
        AdminConfig("tcp:5", "admin", "/etc/secret"),
        AdminConfig(HOME, "operator"),
        AdminConfig("unix:/run/a.sock:mode=666", "admin"),
        AdminConfig("systemd:domain=INET:index=0", "admin"),
    ],
)
def test_a_level_that_the_port_can_have_is_no_conflict(admin: AdminConfig) -> None:
    assert [] == list(conflicts(Config(admin=(admin,))))


def test_http_has_a_port_of_its_own() -> None:
    keys, message = first(Config(http=HttpConfig("tcp:22222")))
    assert ("http.endpoint", "listener[0].endpoint") == keys
    assert '"tcp:22222" is the endpoint of both listener[0] and http: expected one for each' == message
