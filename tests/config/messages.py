"""What is said of a config that is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ctrlserver.errors import ConfigError


def one_line_of(check: Callable[[], object], front: str = "") -> str:
    """The one line with which ``check`` refuses, without its ``front``."""
    with pytest.raises(ConfigError) as caught:
        check()
    message = str(caught.value)
    assert 1 == len(message.splitlines())
    assert message.startswith(front)
    return message.removeprefix(front)
