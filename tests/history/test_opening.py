from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest

from ctrlserver.errors import HistoryError
from ctrlserver.history.opening import APPLICATION, Damaged, Upgrade, packaged
from ctrlserver.history.reading import Reading
from ctrlserver.history.store import Store
from ctrlserver.stats.chosen import Chosen
from tests.history.stores import Stores, a_run

NOBODY = 65534
SECOND = Upgrade(2, "ALTER TABLE runs ADD COLUMN more TEXT;\n-- a comment; with a semicolon\nCREATE TABLE other (a);\n")
BAD = Upgrade(3, "CREATE TABLE third (a);\nCREATE TABLE runs (a);\n")


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as found:
        number: int = found.execute("PRAGMA user_version").fetchone()[0]
        return number


def runs_in(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as found:
        return [run for (run,) in found.execute("SELECT run FROM runs ORDER BY run")]


def filled(stores: Stores, runs: int = 50) -> bytes:
    store = stores()
    store.write([a_run(run) for run in range(1, runs + 1)])
    store.end()
    store.close()
    return stores.path.read_bytes()


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def without_its_head(whole: bytes) -> bytes:
    return os.urandom(4096) + whole[4096:]


def random_bytes(whole: bytes) -> bytes:
    return b"x" + os.urandom(len(whole))


def zeros(whole: bytes) -> bytes:
    return bytes(len(whole))


def text(_: bytes) -> bytes:
    return b"run,packets\n1,100\n"


@pytest.mark.parametrize("spoil", [cut, without_its_head, random_bytes, zeros, text], ids=lambda each: each.__name__)
def test_a_damaged_file_is_kept_under_another_name_and_a_new_one_made(
    stores: Stores, spoil: Callable[[bytes], bytes]
) -> None:
    bad = spoil(filled(stores))
    stores.path.write_bytes(bad)
    store = stores()
    store.write([a_run(7)])
    assert [7] == runs_in(stores.path)
    (aside,) = stores.path.parent.glob("history.sqlite3.corrupt-*")
    assert bad == aside.read_bytes()
    (line,) = stores.said
    assert f"is kept as {aside}" in line
    assert "\n" not in line


def spoilt(whole: bytes, chance: Random) -> bytes:
    """Some bytes of it, a page, or its end."""
    found = bytearray(whole)
    match chance.choice(("bytes", "many", "page", "end")):
        case "bytes":
            for _ in range(chance.randrange(1, 6)):
                found[chance.randrange(len(found))] = chance.randrange(256)
        case "many":
            for _ in range(chance.randrange(50, 3000)):
                found[chance.randrange(100, len(found))] = chance.randrange(256)
        case "page":
            at = 4096 * chance.randrange(len(found) // 4096)
            found[at : at + 4096] = chance.randbytes(4096)
        case "end":
            del found[chance.randrange(len(found)) :]
    return bytes(found)


def in_a_line(what: Callable[[], object]) -> None:
    """It succeeds, or is told as one of our errors."""
    lines = 1
    try:
        what()
    except HistoryError as error:
        lines += str(error).count("\n")
    assert 1 == lines


@pytest.mark.parametrize("seed", range(30))
def test_however_a_file_is_spoilt_runs_are_kept_from_then_on(stores: Stores, reading: Reading, seed: int) -> None:
    chance = Random(seed)
    stores.path.write_bytes(spoilt(filled(stores), chance))
    store = Store(str(stores.path), ("1", "here", 1), lambda: "2026-11-26T21:00:00.000Z", stores.said.append)
    stores.made.append(store)
    in_a_line(lambda: reading.page(Chosen(name="n*", listener="data", labels=(("site", "a"),)), 5, None, [1]))
    in_a_line(lambda: store.begin(go_on=True))
    for _ in range(2):
        in_a_line(lambda: store.write([a_run(104)], {"packets_total": 7}))
        in_a_line(lambda: store.tidy(20, None))
    try:
        reading.page(Chosen(), 100, None, ())
    except Damaged as error:
        store.doubt = error
    store.write([a_run(104)])
    assert a_run(104) in reading.page(Chosen(), 100, None, ()).records


def test_what_was_put_aside_is_never_written_over(stores: Stores) -> None:
    for bad in (b"first", b"second", b"third"):
        stores.path.write_bytes(bad * 100)
        stores.said.clear()
        store = Store(str(stores.path), ("1", "here", 1), lambda: "2026-11-26T21:00:00.000Z", stores.said.append)
        store.open()
        store.close()
        assert 1 == len(stores.said)
    kept = sorted(stores.path.parent.glob("history.sqlite3.corrupt-*"))
    assert [b"first" * 100, b"second" * 100, b"third" * 100] == [each.read_bytes() for each in kept]


def test_a_file_that_turns_out_damaged_while_it_is_in_use_is_put_aside(stores: Stores, reading: Reading) -> None:
    whole = bytearray(filled(stores, 400))
    for at in range(4096 * 5, len(whole), 4096):
        whole[at : at + 4096] = b"\xff" * 4096
    stores.path.write_bytes(whole)
    try:
        store = stores()  # it may be seen at once, or when a row is wanted
    except HistoryError:
        store = stores.made[-1]
    for run in (1001, 1002):
        try:
            store.write([a_run(run)])
        except HistoryError:
            store.write([a_run(run)])
    assert [1002, 1001] == [run.run for run in reading.page(Chosen(), 10, None, ()).records]
    assert 1 == len(list(stores.path.parent.glob("history.sqlite3.corrupt-*")))


def test_an_empty_file_is_a_new_one(stores: Stores) -> None:
    stores.path.touch()
    stores().write([a_run(1)])
    assert [1] == runs_in(stores.path)
    assert [] == stores.said


def test_a_file_of_a_later_version_is_refused_and_stays_as_it_is(stores: Stores) -> None:
    filled(stores)
    with closing(sqlite3.connect(stores.path)) as later:
        later.execute("PRAGMA user_version = 7")
    before = stores.path.read_bytes()
    with pytest.raises(HistoryError, match="of a later version: it has schema 7, and 1 is known here"):
        stores()
    with pytest.raises(HistoryError, match="of a later version"):
        Reading(str(stores.path)).run(1)
    assert before == stores.path.read_bytes()
    assert [] == stores.said


@pytest.mark.parametrize("make", ["CREATE TABLE bookmarks (a)", "PRAGMA application_id = 5", "PRAGMA user_version = 1"])
def test_a_database_of_another_program_is_refused_and_stays_as_it_is(stores: Stores, make: str) -> None:
    with closing(sqlite3.connect(stores.path)) as other:
        other.execute(make)
    before = stores.path.read_bytes()
    with pytest.raises(HistoryError, match="is a database of another program"):
        stores()
    assert before == stores.path.read_bytes()


def test_an_upgrade_copies_the_file_first_and_keeps_all_runs(stores: Stores) -> None:
    filled(stores)
    stores(upgrades=[*packaged(), SECOND]).write([a_run(51)])
    assert (2, list(range(1, 52))) == (version(stores.path), runs_in(stores.path))
    copy = stores.path.with_name("history.sqlite3.before-2")
    assert (1, list(range(1, 51))) == (version(copy), runs_in(copy))


def test_a_new_file_needs_no_copy(stores: Stores) -> None:
    stores(upgrades=[*packaged(), SECOND])
    assert 2 == version(stores.path)
    assert not stores.path.with_name("history.sqlite3.before-2").exists()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(stores: Stores) -> None:
    filled(stores)
    with pytest.raises(HistoryError, match="runs already exists"):
        stores(upgrades=[*packaged(), SECOND, BAD])
    assert (1, list(range(1, 51))) == (version(stores.path), runs_in(stores.path))
    stores().write([a_run(51)])
    assert [] == stores.said


def test_the_packaged_upgrades_are_numbered_one_by_one_and_the_file_says_whose_it_is(stores: Stores) -> None:
    assert list(range(1, len(packaged()) + 1)) == [each.number for each in packaged()]
    stores()
    with closing(sqlite3.connect(stores.path)) as found:
        assert (APPLICATION,) == found.execute("PRAGMA application_id").fetchone()
        assert ("wal",) == found.execute("PRAGMA journal_mode").fetchone()


def test_a_folder_in_its_place_and_no_folder_are_told_in_a_line(stores: Stores, tmp_path: Path) -> None:
    stores.path.mkdir()
    with pytest.raises(HistoryError, match=r"history.sqlite3: unable to open database file"):
        stores()
    with pytest.raises(HistoryError, match=r"no/such-shared: no such file or directory"):
        Store(str(tmp_path / "no" / "such"), ("1", "here", 1), str).open()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting needs root")
def test_a_full_disk_is_told_and_once_there_is_room_the_same_call_succeeds(small_disk: Path) -> None:
    filled = Stores(small_disk / "history.sqlite3")
    store = filled()
    store.write([a_run(1)])
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    runs = [a_run(run, name="x" * 2000) for run in range(2, 40)]
    with pytest.raises(HistoryError, match="the disk is full"):
        store.write(runs)
    with pytest.raises(HistoryError, match="the disk is full"):
        Stores(small_disk / "another.sqlite3")()
    ballast.unlink()
    assert 0 == store.write(runs)
    filled.close()
    assert list(range(1, 40)) == runs_in(small_disk / "history.sqlite3")
    assert [] == filled.said


AS_NOBODY = f"""
import os, sys
from ctrlserver.errors import HistoryError
from ctrlserver.history.store import Store
from ctrlserver.stats.chosen import Chosen
store = Store(sys.argv[1], ("1", "here", 1), str)
if not os.geteuid():
    os.setgid({NOBODY}), os.setuid({NOBODY})
try:
    store.open()
except HistoryError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["file", "folder", "beside"])
def test_a_file_or_a_folder_that_may_not_be_written_is_told_in_a_line(what: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # whoever it is can look into it
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "history.sqlite3"
        with closing(sqlite3.connect(path)) as made:
            made.execute("CREATE TABLE a (b)")
        shared = folder / "history.sqlite3-shared"
        shared.touch()
        shared.chmod(0o666)
        folder.chmod(0o777)
        {"file": path, "folder": folder, "beside": shared}[what].chmod(0o555 if what == "folder" else 0)
        command = [sys.executable, "-c", AS_NOBODY, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        folder.chmod(0o777)
    assert "" == done.stderr
    assert 1 == done.stdout.count("\n")
    assert str(path) in done.stdout
