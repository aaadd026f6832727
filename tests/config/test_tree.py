from __future__ import annotations

import datetime
import math
import os

import attrs
import pytest

from ctrlserver.config.paths import InnerKeyError
from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig, readers
from ctrlserver.errors import UsageError
from ctrlserver.inject.rules import Rule

ALL_KEYS = {**readers(ListenerConfig), **readers(AdminConfig), **readers(HttpConfig), **readers(Config)}


def message_of(key: str, value: object) -> str:
    with pytest.raises(UsageError) as caught:
        ALL_KEYS[key](value)
    return str(caught.value)


def test_every_attribute_of_the_tree_has_its_key() -> None:
    tables = {"listeners", "admin", "http"}

    assert [field.name for field in attrs.fields(ListenerConfig)] == list(readers(ListenerConfig))
    assert [field.name for field in attrs.fields(AdminConfig)] == list(readers(AdminConfig))
    assert [field.name for field in attrs.fields(HttpConfig)] == list(readers(HttpConfig))
    assert [field.name for field in attrs.fields(Config) if field.name not in tables] == list(readers(Config))


@pytest.mark.parametrize("kind", [ListenerConfig, AdminConfig, HttpConfig, Config])
def test_every_default_is_a_value_its_key_accepts(kind: type[Config]) -> None:
    default = kind()
    for key, read in readers(kind).items():
        value = getattr(default, key)
        if value is not None:
            assert value == read(dict(value) if key == "rename" else value)


@pytest.mark.parametrize("key", sorted(ALL_KEYS))
@pytest.mark.parametrize("value", [[[]], True, datetime.date(2026, 1, 1), math.nan, None], ids=repr)
def test_a_value_of_the_wrong_type_is_told_what_was_expected(key: str, value: object) -> None:
    if value is True and key in ("udp", "udp_gro", "probe", "keep_totals"):
        value = "true"
    assert "expected" in message_of(key, value)


@pytest.mark.parametrize(
    ("expected", "key", "value"),
    [
        (1048576, "max_packet", "1MiB"),
        (("5%*reset",), "inject", "5%*reset"),
        (("3*ok -> reset", "stall"), "inject", ["3*ok -> reset", "stall"]),
        ((), "inject", []),
        ((), "answers", []),
        (
            (Rule("PING", "PONG", 2, 0.5), Rule("connect", "")),
            "answers",
            [{"when": "PING", "with": "PONG", "times": 2, "delay": "500ms"}, {"when": "connect", "with": ""}],
        ),
        (262144, "reply_buffer", "256KiB"),
        (5_000_000, "expected_packets", "5M"),
        (4, "workers", 4),
        (256, "workers", "256"),
        (min(len(os.sched_getaffinity(0)), 256), "workers", "auto"),
        (0.5, "stall_timeout", "500ms"),
        (0.0, "run_gap", 0),
        (60.0, "keepalive", "1m"),
        (0.0, "keepalive", "off"),
        (0.0, "keepalive", 0),
        (10, "keep", 10),
        (True, "udp", True),
        (0, "receive_buffer", 0),
        ("HTTP", "protocol", "HTTP"),
        ("lab_2-a", "name", "lab_2-a"),
        (
            {"site": "x", "rack": 7, "up": True, "share": 0.5},
            "labels",
            {"site": "x", "rack": 7, "up": True, "share": 0.5},
        ),
        ((("protocol", "inet_protocol"), ("mode", "m")), "rename", {"protocol": "inet_protocol", "mode": "m"}),
    ],
)
def test_a_good_value_is_read(expected: object, key: str, value: object) -> None:
    assert expected == ALL_KEYS[key](value)


@pytest.mark.parametrize(
    ("expected", "key", "value"),
    [
        ('22222: expected an endpoint such as "tcp:22222"; did you mean "tcp:22222"?', "endpoint", 22222),
        ('1024: expected a framing such as "fixed:1024"; did you mean "fixed:1024"?', "framing", 1024),
        ('unknown mode "snik": expected sink, echo, reply or source; did you mean "sink"?', "mode", "snik"),
        ("1: expected sink, echo, reply or source", "mode", 1),
        ('did you mean "lab_2"?', "name", "lab 2"),
        ('did you mean "_5"?', "name", 5),
        ('such as "data"', "name", ""),
        ('did you mean "xxx', "name", "x" * 65),
        ('did you mean "6"?', "reply", 6),
        ('expected a label of 1 to 64 printable characters, such as "HTTP"', "protocol", " "),
        (
            '"a\\nb": expected a label of 1 to 64 printable characters, such as "HTTP"; did you mean "ab"?',
            "protocol",
            "a\nb",
        ),
        ('did you mean "64KiB"?', "max_packet", "64kib"),
        ('0: expected a size from 1 byte to "1GiB"', "max_packet", 0),
        ('"2GiB": expected a size from 1 byte to "1GiB"', "reply_buffer", "2GiB"),
        ('"1GiB": expected a size from 1 byte to "64MiB"', "keep_bytes", "1GiB"),
        ("did you mean 1?", "keep", -1),
        ("expected a number of packets from 0 to 100000", "keep", 100_001),
        ('0: expected a duration of at least "1ms"', "stall_timeout", 0),
        ('"500ms": expected a duration from "1s" to "15m", or "off"', "keepalive", "500ms"),
        ('"2h": expected a duration from "1s" to "15m", or "off"', "keepalive", "2h"),
        ('did you mean "30s"?', "stall_timeout", "30sec"),
        ("0: expected at least 1 packet", "expected_packets", 0),
        ("a table: expected", "endpoint", {}),
        ("an array: expected", "mode", []),
        ('expected an array of networks, such as ["10.0.0.0/8", "fd00::/8"]; did you mean ["::1"]?', "allow", "::1"),
        ('such as ["10.0.0.0/8", "fd00::/8"], at most 100', "allow", ["::1"] * 101),
        ('0: expected a number of processes from 1 to 256, or "auto" for one on each core', "workers", 0),
        ("257: expected a number of processes from 1 to 256", "workers", 257),
        ('unknown way "kernal"', "balance", "kernal"),
        ("0: expected at least 1 stream", "max_streams", 0),
        ("did you mean 1?", "max_streams_per_peer", -1),
        ('"1kB": expected a size from "1MiB", or no such key', "memory_limit", "1kB"),
        ("3: expected a table of names and values", "labels", 3),
        ("3: expected a table of old and new names", "rename", 3),
    ],
)
def test_a_bad_value_is_told_with_what_was_expected(expected: str, key: str, value: object) -> None:
    assert expected in message_of(key, value)


@pytest.mark.parametrize(
    ("place", "expected", "key", "value"),
    [
        (".peer", 'every stream record has a field of this name; did you mean "my_peer"?', "labels", {"peer": 1}),
        ('."a b"', 'did you mean "a_b"?', "labels", {"a b": 1}),
        (".OKAY", 'did you mean "_OKAY"?', "labels", {"OKAY": 1}),
        (".share", "nan: expected text, a finite number, true or false", "labels", {"share": math.nan}),
        (".site", "an array: expected text", "labels", {"good": 1, "site": []}),
        (".protocol", '3: expected the new name, such as "inet_protocol"', "rename", {"protocol": 3}),
    ],
)
def test_an_error_inside_a_table_says_at_which_key(place: str, expected: str, key: str, value: object) -> None:
    with pytest.raises(InnerKeyError) as caught:
        ALL_KEYS[key](value)

    assert place == caught.value.key
    assert expected in str(caught.value)
