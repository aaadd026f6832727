"""A record of the server, as a test reads it: ``record.packets``, ``record["packets"]``, ``dict(record)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__tracebackhide__ = True  # pytest shows a failure at the test's own line


class Record(Mapping[str, Any]):
    """The fields are attributes too; a label that is named like a method is had by ``record["items"]`` alone."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._fields[name]
        except KeyError:
            from ctrlserver.words import did_you_mean, quoted

            raise AttributeError(f"no field {quoted(name)}{did_you_mean(name, self._fields)}") from None

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"

    def lines(self) -> str:
        """A line for each field whose value is not nothing."""
        return "\n".join(f"  {name} {value}" for name, value in self._fields.items() if value or value is False)
