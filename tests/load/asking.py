"""The options of a run from flags as a test writes them."""

from __future__ import annotations

from typing import Any

from ctrlserver.client.target import Target
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.flag import flags_of
from ctrlserver.load.plan.options import Options, prepared
from ctrlserver.load.plan.values import Payload


def options_for(target: Target, **flags: Any) -> Options:
    """Prepared options; a text is read as on the command line, bytes are a payload, all else is a value already."""
    declared = dict(flags_of(Asked))
    values: dict[str, Any] = {}
    for name, value in flags.items():
        parse = declared[name].parse
        if isinstance(value, bytes):
            values[name] = Payload("bytes", value)
        elif isinstance(value, str) and parse is not None:
            try:
                values[name] = parse(value)
            except UsageError as error:
                raise UsageError(f"{declared[name].long}: {error}") from None
        else:
            values[name] = (value,) if isinstance(value, Target) else value
    return prepared(Asked(target=target, **values))
