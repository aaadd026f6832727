"""``ctrlload merge``: the shards of one load become one result.

Rules: the report, the documents and the exit code are those of a run. Results that do not belong together are refused
in one line, exit 2, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ctrlserver.console.parameters import completing
from ctrlserver.errors import UsageError
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.parameters import options_of, record_of
from ctrlserver.words import printable

_EXAMPLES = """\b
Examples:
  ctrlload merge shard1.json shard2.json -o all.json
  ctrlload merge shard*.json -J | jq .latency.response.p99
  ctrlload merge shard*.json --junit report.xml -o all.json && ctrlload check all.json

\b
Counts and histograms are added, so percentiles are those of all samples
pooled. Conditions (--fail-if) are judged once more, over the whole. What the shards
do not tell of the whole is null, and "merged" in the result says why.

\b
Exit codes: as of ctrlload run, of the whole; 2 if a shard is missing, given twice
or of another load, or a file contradicts itself.
"""


@click.command(
    "merge",
    epilog=_EXAMPLES,
    short_help="Make one result of the shards of a load.",
    params=[
        click.Argument(["files"], metavar="SHARD.json...", nargs=-1, shell_complete=completing()),
        *(option for option in options_of(Outputs) if option.name not in ("events", "progress")),
    ],
)
def merge_command(files: Sequence[str], **values: Any) -> int:
    """Merge the results of all shards of a load, in any order, as if one ctrlload had sent all of it."""
    from ctrlserver.load.commands.reporting import report
    from ctrlserver.load.results.checking import contradictions
    from ctrlserver.load.results.merging import merged
    from ctrlserver.load.results.records import result_in, sound
    from ctrlserver.load.results.stored import read_result

    if not files:
        raise UsageError("SHARD.json is missing: ctrlload merge SHARD.json... -o all.json")
    outputs = record_of(Outputs, values).checked()
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise UsageError(f"{printable(twice)}: given twice, expected each shard once")
    for path in (outputs.output, outputs.junit):
        if path is not None and any(_same(path, file) for file in files):
            raise UsageError(f"--output: {printable(path)} is one of the shards")
    documents = {file: read_result(file) for file in files}
    try:
        whole = merged({file: result_in(file, document) for file, document in documents.items()})
    except UsageError:
        raise
    except ValueError as error:  # of a histogram: they are read as they are added
        for file, document in documents.items():
            sound(file, contradictions(document))
        raise UsageError(f"the histograms cannot be added: {error}") from None
    return report(whole, outputs)


def _same(path: str, file: str) -> bool:
    return Path(path).exists() and Path(file).exists() and Path(path).samefile(file)
