"""What a server may be given, held to the config; and its config as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from ctrlserver.config import Config, ListenerConfig, load_config
from ctrlserver.config.tree import readers
from ctrlserver.inject.rules import Rule
from ctrlserver.testing.keys import OF_THE_WHOLE, Keys, config_of
from ctrlserver.testing.toml import toml_of

#: Words of the fixture's own.
SHORT = {"unix", "tls"}


def test_every_key_of_a_listener_may_be_given() -> None:
    known = set(readers(ListenerConfig)) | set(OF_THE_WHOLE) | SHORT
    assert known == set(Keys.__annotations__)


def test_the_keys_of_the_whole_are_keys_of_the_config() -> None:
    assert set(OF_THE_WHOLE) <= set(readers(Config))


def test_a_config_is_read_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "ctrlserver.toml"
    keys = Keys(framing="line", mode="reply", reply=b"\x06\xff", keep=3, udp=True, allow=["127.0.0.0/8"], run_gap="2s")
    path.write_text(toml_of(config_of(keys)))
    config = load_config(path)
    listener = config.listeners[0]
    assert (b"\x06\xff", "line", 3, True, ("127.0.0.0/8",)) == (
        listener.reply_bytes, listener.framing, listener.keep, listener.udp, listener.allow
    )  # fmt: skip
    assert (2.0, 0.0) == (config.run_gap, config.drain_timeout)


def test_answers_are_given_as_in_the_config_with_texts_or_bytes(tmp_path: Path) -> None:
    path = tmp_path / "ctrlserver.toml"
    answers: list[Mapping[str, object]] = [
        {"when": "connect", "with": b"220 \xff\r\n"},
        {"when": "/^A/", "with": "b", "times": 2, "delay": 0.5},
    ]
    path.write_text(toml_of(config_of(Keys(framing="line", mode="reply", answers=answers))))
    first, second = load_config(path).listeners[0].answers
    assert b"220 \xff\r\n" == first.octets
    assert Rule("/^A/", "b", 2, 0.5) == second


def test_values_come_through_toml_as_they_are() -> None:
    table = {"text": 'a"b\\c\r\n\x7f\x00é😀', "flag": True, "number": 1.5, "list": ["x", 2], "table": {"a b": "c"}}
    assert {**table, "listener": [{"n": 1}]} == tomllib.loads(toml_of({**table, "listener": [{"n": 1}]}))


def test_a_unix_socket_is_an_endpoint_by_its_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "a:b"
    assert f"unix:{tmp_path}/a\\:b" == config_of(Keys(unix=path))["listener"][0]["endpoint"]


def test_a_server_listens_at_one_place() -> None:
    with pytest.raises(ValueError, match="endpoint and unix"):
        config_of(Keys(unix="/x", endpoint="tcp:0"))
