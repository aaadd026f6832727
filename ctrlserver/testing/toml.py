"""Values of Python as TOML, as far as a config has them: texts, numbers, flags, arrays and one level of tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__tracebackhide__ = True  # pytest shows a failure at the test's own line


def toml_of(config: Mapping[str, Any]) -> str:
    """The document: plain keys first, then each array of tables."""
    lines = [f"{key} = {_value(value)}" for key, value in config.items() if not _is_tables(value)]
    for key, tables in config.items():
        if _is_tables(tables):
            for table in tables:
                lines += [f"[[{key}]]", *(f"{_text(name)} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_text(name)} = {_value(each)}' for name, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes):
        return _text("".join(f"\\x{byte:02x}" for byte in value))  # as the key reply has it
    if isinstance(value, bool | int | float):
        return str(value).lower()
    raise TypeError(f"{value!r}: expected text, a number, a flag, a list or a dict")


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
