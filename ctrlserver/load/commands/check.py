"""``ctrlload check``: whether results agree with themselves.

Rules: one line a file, on stdout, with what cannot be true at once. Exit codes: 0 all agree, 1 one does not, 2 a file
that is no result.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD
from ctrlserver.console.parameters import completing
from ctrlserver.console.streams import print_output
from ctrlserver.errors import UsageError
from ctrlserver.words import printable

#: Contradictions told of a file; more follow from the same mistake.
_MOST = 5

_EXAMPLES = """\b
Examples:
  ctrlload check result.json
  ctrlload check *.json && ctrlload compare before.json after.json

\b
Of each result every number is held to the others: intervals and streams to the
totals, rates to counts and times, percentiles to their histograms, what the server
received to what was sent, conditions to the figures that they name.

\b
Exit codes: 0 all agree with themselves; 1 one does not; 2 usage, or a file that is
no result.
"""


@click.command("check", epilog=_EXAMPLES, short_help="Say whether results agree with themselves.")
@click.argument("files", metavar="RESULT.json...", nargs=-1, shell_complete=completing())
def check_command(files: Sequence[str]) -> int:
    """Hold the numbers of each result to one another, and print a line for each file.

    ctrlload run and search do so before they write a result: this is for results that were kept, sent or merged.
    """
    from ctrlserver.load.results.checking import contradictions
    from ctrlserver.load.results.shapes import misfits
    from ctrlserver.load.results.stored import read_result

    if not files:
        raise UsageError("RESULT.json is missing: ctrlload check RESULT.json...")
    lines, code = [], EXIT_GOOD
    for file in files:
        document = read_result(file)
        found = list(misfits(document)) or contradictions(document)
        lines.append(f"{printable(file)}: {_words(found)}\n")
        code = EXIT_FAILED if found else code
    print_output("".join(lines))
    return code


def _words(found: Sequence[str]) -> str:
    if not found:
        return "agrees with itself"
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return printable(f"contradicts itself: {'; '.join([*found[:_MOST], *more])}")
