"""Runs over restarts, by the daemon itself."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

from tests.integration.conftest import BIN, Daemon, Start, run

KILLS = 4
PACKET = bytes(1024)


def killed(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()


def test_however_often_it_is_killed_no_run_is_lost_but_the_active_one_and_none_is_there_twice(
    start: Start, tmp_path: Path
) -> None:
    path, names, ended = tmp_path / "runs.sqlite3", count(), dict[str, int]()
    for kill in range(KILLS):
        daemon = start("--history", path.name)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            if kill % 2:
                other.execute("BEGIN IMMEDIATE")  # so none of this start's is in the database when it is killed
            for packets in range(1, 4):
                name = f"n{next(names)}"
                daemon.ask(f"run start {name}")
                with daemon.connect() as client:
                    client.sendall(PACKET * packets)
                    assert "OK" in daemon.ask(f"wait run.packets>={packets} timeout=20s")
                daemon.ask("run stop")
                ended[name] = packets
            daemon.ask("run start active")
            killed(daemon)
    daemon = start("--history", path.name)
    runs = [run for run in daemon.ask_json("runs limit=1000") if run["name"] != "active"]
    assert len(runs) == len({row["run"] for row in runs})
    assert [(name, "ended", packets) for name, packets in ended.items()] == sorted(
        ((run["name"], run["state"], run["packets"]) for run in runs), key=lambda row: int(row[0][1:])
    )
    assert daemon.ask("run 1").startswith("run 1\r\nname n0\r\nstate ended\r\n")
    assert 0 == daemon.ask_json("stats")["history_lost_total"]


def test_by_default_the_history_is_in_the_state_folder_and_off_makes_no_file(tmp_path: Path, start: Start) -> None:
    daemon = start(env={**os.environ, "STATE_DIRECTORY": f"{tmp_path}/state:/elsewhere"})
    daemon.ask("run start a")
    daemon.stop()
    assert (tmp_path / "state" / "history.sqlite3").exists()
    start("--history", "off").stop()
    assert [] == list(tmp_path.glob("*.sqlite3*"))


def test_a_default_file_that_cannot_be_made_is_one_line_and_the_server_serves(tmp_path: Path, start: Start) -> None:
    (tmp_path / "file").touch()
    daemon = start("--history", "file/no.sqlite3")
    daemon.ask("run start a")
    assert 'ready yes\r\nreasons "runs are not kept: ' in daemon.ask("health")
    log = daemon.stop()
    assert 1 == log.count("runs are not kept")
    assert "1 run could not be kept in the history" in log


def test_ctrlstat_exports_the_runs_of_earlier_starts_and_lays_two_side_by_side_under_their_new_names(
    start: Start, tmp_path: Path
) -> None:
    first = start("--history", "runs.sqlite3")
    for name in ("soak 1", "soak 2", "burst"):
        first.ask(f"run start '{name}'")
    first.stop()
    daemon = start("--history", "runs.sqlite3")
    daemon.ask("rename name label", "rename run number")

    def ctrlstat(*words: str) -> tuple[int, str]:
        done = run(BIN / "ctrlstat", daemon.admin, *words, cwd=tmp_path)
        return done.returncode, (done.stdout + done.stderr).decode()

    code, text = ctrlstat("export")
    rows = [json.loads(line) for line in text.splitlines()]
    assert (0, [(3, "burst"), (2, "soak 2"), (1, "soak 1")]) == (code, [(row["number"], row["label"]) for row in rows])
    code, text = ctrlstat("export", "--format", "csv", "name=soak*", "since=1h", "fields=number,label,state")
    assert (0, ["number,label,state", "2,soak 2,ended", "1,soak 1,ended"]) == (code, text.splitlines())
    heading = text.splitlines()[0]
    assert (0, f"{heading}\n") == ctrlstat("export", "--format", "csv", "name=none", f"fields={heading}")
    whole = ctrlstat("export", "--format", "csv")[1].splitlines()[0]
    assert (0, f"{whole}\n") == ctrlstat("export", "--format", "csv", "name=none")
    code, text = ctrlstat("export", "fields=label")
    assert (0, ['{"label":"burst"}', '{"label":"soak 2"}', '{"label":"soak 1"}']) == (code, text.splitlines())
    code, text = ctrlstat("diff", "1", "3", "--csv")
    assert (0, "field,run 1,run 3,ratio", "number,1,3,") == (code, *text.splitlines()[:2])
    assert (1, True) == ((found := ctrlstat("diff", "1", "9"))[0], "no run 9" in found[1])
    assert 2 == ctrlstat("export", "soak")[0]
    daemon.ask("unrename number", "unrename label")
    assert ["soak 1", 1] == [json.loads(ctrlstat("export", "name=soak 1")[1])[name] for name in ("name", "run")]


def test_ctrlload_keeps_its_results_and_compares_the_last_two(start: Start, tmp_path: Path) -> None:
    daemon = start()
    for _ in range(2):
        words = ["run", f"127.0.0.1:{daemon.ports['data']}", "-n", "50", "--history", "loads.sqlite3"]
        assert 0 == run(BIN / "ctrlload", *words, cwd=tmp_path).returncode
    done = run(BIN / "ctrlload", "compare", "loads.sqlite3:last~1", "loads.sqlite3:last", cwd=tmp_path)
    assert (0, True) == (done.returncode, b"sent packets/s" in done.stdout)
