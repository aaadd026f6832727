"""Commands that publish fields under other names."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.admin.arguments import Text
from ctrlserver.admin.commands.command import Command, argument
from ctrlserver.admin.levels import Level
from ctrlserver.admin.replies import Reply, Table, Word
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError, RenameError
from ctrlserver.stats.records import field_names
from ctrlserver.stats.rename import Renames
from ctrlserver.words import did_you_mean, quoted


@frozen
class Rename(Command):
    """rename [OLD NEW]

    Publish OLD as NEW, or list the renames.
    The content and the place of the field OLD are kept. A NEW that is already a
    field is refused, and nothing is changed.
    """

    command = "rename"
    level = Level.OPERATOR
    reads = False
    lists = True
    answers = "The word renamed. Without arguments, a row for each rename, below a line of column names."
    example = "rename protocol inet_protocol"
    old: str = argument(Text("old", "OLD"), "")
    new: str = argument(Text("new", "NEW"), "")

    def only_reads(self) -> bool:
        """Without arguments it lists."""
        return not self.old and not self.new

    def reply(self, desk: Desk) -> Reply:
        """Rows of renames, or the one made."""
        renames = desk.book.renames
        if self.only_reads():
            return Table([{"old": old, "new": new} for old, new in renames.pairs], len(renames.pairs))
        if not self.old or not self.new:
            missing = "NEW" if self.old else "OLD"
            raise CommandError(400, "missing-argument", f'"rename" needs {missing}; usage: rename [OLD NEW]')
        desk.book.renames = self._checked(renames)
        return Word("renamed", {"old": self.old, "new": self.new})

    def _checked(self, renames: Renames) -> Renames:
        known = field_names() | renames.fields
        published = {renames.renamed(name) for name in known} | {new for _, new in renames.pairs}
        if self.old not in known | published:
            wrong = f"{quoted(self.old)}{did_you_mean(self.old, sorted(published))}"
            raise CommandError(404, "unknown-field", wrong)
        if self.new not in known:
            try:
                Renames(((self.old, self.new),))  # alone, so nothing but its own spelling can be wrong
            except RenameError as error:
                raise CommandError(400, "bad-argument", str(error)) from error
        try:
            return renames.with_rename(self.old, self.new)
        except RenameError as error:
            raise CommandError(409, "rename-conflict", str(error)) from error


@frozen
class Unrename(Command):
    """unrename NEW

    Give field NEW its own name again.
    """

    command = "unrename"
    level = Level.OPERATOR
    reads = False
    answers = "The word unrenamed."
    example = "unrename inet_protocol"
    new: str = argument(Text("new", "NEW"))

    def reply(self, desk: Desk) -> Reply:
        """The rename taken back."""
        renames = desk.book.renames
        pair = next((pair for pair in renames.pairs if pair[1] == self.new), None)
        if pair is None:
            targets = [new for _, new in renames.pairs]
            nearest = did_you_mean(self.new, targets) or '; "rename" lists the renames'
            raise CommandError(404, "unknown-rename", f"no field is renamed to {quoted(self.new)}{nearest}")
        try:
            desk.book.renames = renames.without(self.new)
        except RenameError as error:
            raise CommandError(409, "rename-conflict", str(error)) from error
        return Word("unrenamed", {"old": pair[0], "new": pair[1]})
