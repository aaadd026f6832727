"""Where a run's or a search's documents go: the flags for that, and their checks.

Rules: at most one document goes to stdout. A file that cannot be written is refused before the run, if that shows.
"""

from __future__ import annotations

from attrs import evolve, frozen

from ctrlserver.errors import UsageError
from ctrlserver.load.plan.flag import flag
from ctrlserver.load.show.output import check_output, is_stdout


@frozen(kw_only=True)
class Outputs:
    """``document`` and ``events`` go to stdout, one of them at most; ``output`` and ``junit`` are files."""

    document: bool = flag("-J --json", "Print the result document on stdout, the summary on stderr.", None)
    events: bool = flag(
        "--json-stream", "Print events on stdout during the run, one JSON object a line.", None, search=None
    )
    junit: str | None = flag(
        "--junit FILE", "Write the outcome as JUnit XML, for CI systems, to a file.", str, search=None
    )
    output: str | None = flag("-o --output FILE", "Write the result document to a file; -: to stdout.", str)

    def checked(self) -> Outputs:
        """The same, ``--output -`` as ``--json``; UsageError if two want stdout, or a file cannot be written."""
        taken = "--json" if self.document else "--output -"
        document, output = (True, None) if self.output == "-" else (self.document, self.output)
        if document and self.events:
            raise UsageError(f"--json-stream: not with {taken}: the end event holds the whole document")
        if self.events:
            taken = "--json-stream"
        for name, path in (("--output", output), ("--junit", self.junit)):
            if path is not None:
                check_output(path, name)
                if (document or self.events) and is_stdout(path):
                    raise UsageError(f"{name}: {path} is stdout, and so is {taken}; name another file")
        return evolve(self, document=document, output=output)
