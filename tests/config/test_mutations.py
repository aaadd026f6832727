"""The config that teaches, broken in one place at a time: each is refused with its key and what would be good there.

Rule: the mutants are made from the file and the tree, so a new key is tried with the others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig, readers
from ctrlserver.tap import Options

TEACHER = Path(__file__).resolve().parent.parent.parent / "etc" / "ctrlserver.toml"
#: Each optional key in use, but for those of a file that is not there.
IN_USE = re.sub(r"^#(?=[\[a-z])(?!auth|inject_ca)", "", TEACHER.read_text(), flags=re.MULTILINE).replace(
    "#auth", "##auth"
)
KEYS = {"": readers(Config), "listener": readers(ListenerConfig), "admin": readers(AdminConfig)}
KEYS["http"] = readers(HttpConfig)

WRONG_KINDS = ("[[1]]", "{ a = [] }", "1979-05-27", "nan", "-7", '""', "[-1]")
"""No key takes one of these, but for the empty reply of a listener that does not reply."""
#: What stands before the good values.
TELLING = ("expected", "did you mean", "known are", "must be")

bound: list[object] = []
"""Addresses that a socket of this process was bound to; an audit hook cannot be taken back, so it only notes them."""
sys.addaudithook(lambda event, arguments: bound.append(arguments[1]) if event == "socket.bind" else None)


@frozen
class Mutant:
    """``named``: the key as the error has it. ``meant``: the key that is the nearest good one, if it is misspelt."""

    text: str
    named: str
    what: str
    meant: str = ""


def mutants() -> Iterator[Mutant]:
    """Of each line ``key = value``: keys misspelt or repeated, values of a wrong kind or not printable."""
    home, lines = "", IN_USE.splitlines()
    for at, line in enumerate(lines):
        if table := re.fullmatch(r"\[\[?([\w.]+)\]?\]", line):
            home = table[1]
        found = re.match(r"([a-z_]+) = (.*)", line)
        if found is None or home not in KEYS:
            continue
        key, value = found.groups()
        path = f"{home}.{key}" if home == "http" else f"{home}[0].{key}" if home else key

        def with_line(new: str, at: int = at) -> str:
            return "\n".join([*lines[:at], new, *lines[at + 1 :]])

        for wrong in (key[:-1], f"{key}s", f"{key[:2]}_{key[2:]}"):
            if wrong not in KEYS[home]:
                named = path.removesuffix(key) + wrong
                yield Mutant(with_line(f"{wrong} = {value}"), named, f"{path} is misspelt as {wrong}", key)
        yield Mutant(with_line(f"{line}\n{line}"), "", f"{path} is there twice")
        for wrong in WRONG_KINDS:
            if (key, wrong) != ("reply", '""'):
                yield Mutant(with_line(f"{key} = {wrong}"), path, f"{path} = {wrong}")
        if value.startswith('"'):
            yield Mutant(with_line(f'{key} = "{value[1:-1]}\\u0000 x"'), path, f"{path} with a control character")


def test_there_are_hundreds_and_every_key_is_among_them() -> None:
    made = list(mutants())
    tried = {mutant.named.rpartition(".")[2] for mutant in made}
    assert len(made) >= 200
    assert set() == {key for keys in KEYS.values() for key in keys} - tried - {"labels", "rename", "auth", "inject_ca"}


def test_each_is_refused_by_one_line_with_its_key_and_what_is_good_and_nothing_is_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.toml"
    before = len(bound)
    wrong = []
    for mutant in mutants():
        path.write_text(mutant.text)
        with pytest.raises(SystemExit) as left:
            Options().parseOptions(["--config", str(path), "--check"])
        line = capsys.readouterr().err
        good = (
            left.value.code == 1
            and line.count("\n") == 1
            and line.startswith(f"ctrlserver: {path}: {mutant.named}")
            and (any(words in line for words in TELLING) or not mutant.named)
            and (not mutant.meant or f'did you mean "{mutant.meant}"?' in line)
        )
        if not good:
            wrong.append((mutant.what, left.value.code, line))
    assert [] == wrong, "\n".join(map(str, wrong))
    assert before == len(bound)
