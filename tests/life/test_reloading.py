"""The config is read again: what is counted, told and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, evolve, field
from twisted.logger import capturedLogs, formatEvent

from ctrlserver.config import AdminConfig, Config, ListenerConfig
from ctrlserver.errors import CommandError, ConfigError
from ctrlserver.life.reloading import NOTHING_TO_READ, Reloading
from ctrlserver.net.listeners import CannotBind
from ctrlserver.stats.book import Book


@define
class Supervised:
    """Notes what systemd is told."""

    told: list[str] = field(factory=list)
    then: Callable[[], object] = lambda: None

    def reloading(self) -> None:
        self.told.append("reloading")

    def ready(self) -> None:
        self.told.append("ready")
        self.then()


@define
class Server:
    """Its config, and what its file holds."""

    book: Book
    config: Config
    file: Config | Exception
    refuses: CannotBind | None = None
    supervision: Supervised = field(factory=Supervised)
    ending: bool = False

    def read(self) -> Config:
        if isinstance(self.file, Exception):
            raise self.file
        return self.file

    def apply(self, config: Config) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.config = config

    def reloading(self) -> Reloading:
        return Reloading(
            self.book, lambda: self.config, self.read, self.apply, cast(Any, self.supervision), lambda: self.ending
        )

    @property
    def counted(self) -> tuple[int, int]:
        stats = self.book.stats(0.0)
        return stats.config_reloads_total, stats.config_reload_failures_total


def server(file: Config | Exception) -> Server:
    return Server(Book(version="test", now=0.0, wall=0.0), Config(), file)


def test_a_good_config_is_gone_to_counted_and_told_in_reply_and_log() -> None:
    one = server(evolve(Config(), run_gap=2.0))
    with capturedLogs() as log:
        assert ["run_gap 1 -> 2"] == one.reloading().reload()
    assert (2.0, (1, 0)) == (one.config.run_gap, one.counted)
    assert ["config reloaded: run_gap 1 -> 2"] == [formatEvent(event) for event in log]


def test_a_config_that_is_the_same_is_applied_too_for_certificates_may_be_new() -> None:
    one = server(Config())
    assert ["nothing has changed"] == one.reloading().reload()
    assert (1, 0) == one.counted


def test_a_unix_socket_that_has_its_file_again_is_told_and_one_that_still_lacks_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    one = server(Config(admin=(AdminConfig(f"unix:{path}"),)))
    one.config = cast(Config, one.file)
    assert ["nothing has changed"] == one.reloading().reload()
    one.supervision.then = path.touch  # as the data plane does
    assert [f"unix:{path}: its file was gone and is made anew"] == one.reloading().reload()
    assert ["nothing has changed"] == one.reloading().reload()


def test_a_secret_and_a_certificate_whose_files_have_another_content_are_told_once(tmp_path: Path) -> None:
    secret, key, chain = (tmp_path / name for name in ("secret", "key.pem", "chain.pem"))
    (folder := tmp_path / "folder").mkdir()
    for each in (secret, key, chain, folder / "one.pem"):
        each.write_text("correct horse battery")
    secret.chmod(0o600)
    tls = f"haproxy:ssl:0:privateKey={key}:extraCertChain={chain}"
    one = server(
        Config(
            listeners=(ListenerConfig(), ListenerConfig("tls", tls), ListenerConfig("folder", f"tls:{folder}:0")),
            admin=(AdminConfig(f"ssl:0:privateKey={key}"), AdminConfig("unix:/run/x", auth=str(secret))),
        )
    )
    one.config = cast(Config, one.file)
    reloading = one.reloading()
    by_key = ['listener "tls": certificate read anew', f"admin ssl:0:privateKey={key}: certificate read anew"]
    for renewed, lines in (
        (secret, ["admin unix:/run/x: secret read anew"]),
        (key, by_key),
        (chain, by_key[:1]),
        (folder / "one.pem", ['listener "folder": certificate read anew']),
        (folder / "two.pem", ['listener "folder": certificate read anew']),
    ):
        renewed.touch()
        assert (["nothing has changed"] if renewed.stat().st_size else lines) == reloading.reload()
        renewed.write_text("another horse battery")
        assert lines == reloading.reload()
        assert ["nothing has changed"] == reloading.reload()


def test_what_is_renewed_while_a_reload_fails_is_told_by_the_next_that_does_not(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("old")
    one = server(Config(admin=(AdminConfig(f"ssl:0:privateKey={tmp_path}/key.pem"),)))
    one.config, one.refuses = cast(Config, one.file), CannotBind("taken")
    reloading = one.reloading()
    (tmp_path / "key.pem").write_text("new")
    with pytest.raises(CommandError):
        reloading.reload()
    one.refuses = None
    assert [f"admin ssl:0:privateKey={tmp_path}/key.pem: certificate read anew"] == reloading.reload()


@pytest.mark.parametrize("on_the_way", [False, True])
def test_a_bad_config_or_a_port_in_use_is_one_line_counted_and_the_old_config_stays(on_the_way: bool) -> None:
    bad = 'x.toml: run_gap: "soon": expected a duration'
    one = server(Config(run_gap=9.0) if on_the_way else ConfigError(bad))
    one.refuses = CannotBind(bad) if on_the_way else None
    with capturedLogs() as log, pytest.raises(CommandError) as caught:
        one.reloading().reload()
    assert (400, "bad-config", f"{bad}; the old config stays") == (
        caught.value.code,
        caught.value.id,
        caught.value.message,
    )
    assert [f"the config is not reloaded, the old one stays: {bad}"] == [formatEvent(event) for event in log]
    assert (Config(), (0, 1)) == (one.config, one.counted)


def test_a_signal_writes_the_same_one_line_and_raises_nothing() -> None:
    one = server(ConfigError("bad"))
    with capturedLogs() as log:
        one.reloading().by_signal()
    assert ["the config is not reloaded, the old one stays: bad"] == [formatEvent(event) for event in log]


def test_without_a_file_there_is_nothing_to_read_and_both_ways_say_so() -> None:
    one = server(Config())
    reloading = Reloading(one.book, lambda: one.config, None, one.apply, cast(Any, one.supervision), lambda: False)
    with pytest.raises(CommandError, match=NOTHING_TO_READ) as caught:
        reloading.reload()
    assert (409, "no-config", (0, 0)) == (caught.value.code, caught.value.id, one.counted)
    with capturedLogs() as log:
        reloading.by_signal()
    assert [f"SIGHUP changes nothing: {NOTHING_TO_READ}"] == [formatEvent(event) for event in log]


def test_systemd_is_told_that_a_reload_begins_and_that_it_is_over_good_or_bad() -> None:
    for file in (Config(), ConfigError("bad")):
        one = server(file)
        one.reloading().by_signal()
        assert ["reloading", "ready"] == one.supervision.told


def test_a_server_that_stops_reloads_nothing_and_tells_systemd_nothing() -> None:
    one = server(Config(run_gap=9.0))
    one.ending = True
    with pytest.raises(CommandError, match="the server is stopping") as caught:
        one.reloading().reload()
    assert (503, "stopping", Config(), (0, 0), []) == (
        caught.value.code, caught.value.id, one.config, one.counted, one.supervision.told
    )  # fmt: skip


def test_what_needs_a_restart_is_told_as_well() -> None:
    one = server(Config(listeners=(ListenerConfig(udp=True, udp_gro=False),)))
    one.config = Config(listeners=(ListenerConfig(udp=True),))
    assert [
        'listener "data": udp_gro true -> false',
        'listener "data": udp_gro needs a restart, or another port',
    ] == one.reloading().reload()


def test_all_is_counted_before_systemd_is_told_so_a_reading_of_that_moment_has_it() -> None:
    for file, counted in ((Config(), (1, 0)), (ConfigError("bad"), (0, 1))):
        one = server(file)
        one.supervision.then = partial(one.book.stats, 0.0)  # the status line reads the book
        asked = one.book.asked()
        one.reloading().by_signal()
        stats = one.book.stats(0.0, asked)
        assert counted == (stats.config_reloads_total, stats.config_reload_failures_total)
