"""What the shell offers for the word that is being typed, from the servers' own ``help`` and ``describe``. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

#: Commands whose argument begins with the name of a field.
_OF_FIELDS = ("stats", "describe", "wait", "rename")


@frozen
class Vocabulary:
    """The usage of each command by its name, and the names of the fields."""

    usages: Mapping[str, str]
    fields: Sequence[str] = ()

    def offered(self, before: str, begun: str) -> list[str]:
        """What may stand where ``begun`` is typed, after ``before``; each with a blank after it if it is whole."""
        words = before.casefold().split()
        if words and words[0] == "help":
            words = words[1:]
        found = [command[len(" ".join(words)) :].split()[0] for command in self.usages if self._goes_on(command, words)]
        if words:
            found += self._arguments(words)
        wanted = begun.casefold()
        return [word if word.endswith("=") else f"{word} " for word in dict.fromkeys(found) if word.startswith(wanted)]

    def _goes_on(self, command: str, words: Sequence[str]) -> bool:
        return not words or command.startswith(f"{' '.join(words)} ")

    def _arguments(self, words: Sequence[str]) -> list[str]:
        usage = self.usages.get(" ".join(words[:2])) or self.usages.get(words[0]) or ""
        found = re.findall(r"([a-z]+=)", usage)
        for choice in re.findall(r"[ \[]([a-z]+(?:\|[a-z]+)+)", usage):
            found += choice.split("|")
        found = [word for word in found if not any(given.startswith(word) for given in words[1:])]
        return [*found, *(self.fields if words[0] in _OF_FIELDS and len(words) == 1 else ())]


def vocabulary_of(help_rows: object, described: object) -> Vocabulary:
    """From the rows of ``help json`` and ``describe json``; what is no such row is left out."""
    usages = {str(row["command"]): str(row.get("usage", "")) for row in _rows(help_rows) if row.get("command")}
    return Vocabulary(usages, sorted({str(row["name"]) for row in _rows(described) if row.get("name")}))


def _rows(rows: object) -> list[Mapping[str, object]]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
