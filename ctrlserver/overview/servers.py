"""Which servers are asked, and what: the words of the command line, and the file of ``--servers``.

::

    ctrlstat 10.0.0.1:22223 lab2 streams limit=5
             `-- servers -------' `-- command --'

Rules: a word is a server if it has a ``:`` or a ``/``, is the name of one in the file, or can be nothing but a host (an
address, ``localhost``, a name with a dot). The first word that is a command begins the command. Any other word is a
``UsageError`` with the nearest good form. Without a port it is 22223. Without servers all of the file are asked, and
without a file the one on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from ctrlserver.addresses import ip_version
from ctrlserver.client.target import ADMIN_PORT, Target, parse_admin
from ctrlserver.commands import ALIASES, NAMES
from ctrlserver.errors import UsageError
from ctrlserver.words import did_you_mean, quoted

#: First words of the commands of a server; what else it takes, it says itself.
COMMANDS = tuple(dict.fromkeys(name.split()[0] for name in (*NAMES, *ALIASES)))

#: Commands of ctrlstat itself.
OWN = ("top", "shell", "export", "diff")

#: Those of them that take words of their own.
WITH_WORDS = ("export", "diff")

DEFAULT = "stats"

#: Bytes and servers of a file: more is another file.
MOST_BYTES, MOST_SERVERS = 1 << 20, 1000

#: Names that are columns of a table.
_TAKEN = ("field", "server", "total")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+\.?", re.ASCII)


@frozen
class Server:
    """One to ask; ``name`` is what it is called in tables and errors."""

    name: str
    target: Target


@frozen
class Asked:
    """What the words of a command line mean. ``command`` has at least one word."""

    servers: Sequence[Server]
    command: Sequence[str]


def server_of(word: str, name: str = "") -> Server:
    """The server at ``HOST[:PORT]``, ``[V6][:PORT]``, the path of a unix socket or an endpoint; UsageError if none."""
    text = word
    if re.fullmatch(r"\[[^\[\]]+\]", word):
        text = f"{word}:{ADMIN_PORT}"
    elif _is_host(word):
        text = f"[{word}]:{ADMIN_PORT}" if ":" in word else f"{word}:{ADMIN_PORT}"
    return Server(name or word, parse_admin(text))


def asked(words: Sequence[str], named: Mapping[str, Server]) -> Asked:
    """The servers and the command that ``words`` name; ``named`` are those of the file."""
    servers: list[Server] = []
    command: list[str] = []
    for at, word in enumerate(words):
        if word.casefold().split(" ")[0] in (*COMMANDS, *OWN) and word not in named:
            command = list(words[at:])
            break
        servers.append(_server(word, named))
    alone = bool(command) and command[0].casefold() in OWN and command[0].casefold() not in WITH_WORDS
    if not servers and alone:  # they may stand first: ctrlstat top lab1 lab2
        servers, command = [_server(word, named) for word in command[1:]], command[:1]
    names = [server.name for server in servers]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{quoted(name)} is given twice")
    if alone and len(command) > 1:
        raise UsageError(f"{quoted(command[1])}: servers stand before {command[0]}, or all of them after it")
    return Asked(servers or [*named.values()] or [server_of(f"127.0.0.1:{ADMIN_PORT}")], command or [DEFAULT])


def _server(word: str, named: Mapping[str, Server]) -> Server:
    if word in named:
        return named[word]
    if ":" in word or "/" in word or _is_host(word):
        return server_of(word)
    near = did_you_mean(word, [*COMMANDS, *OWN, *named])
    if not near and _NAME.fullmatch(word) and not word.isdecimal():
        near = f'; did you mean "{word}:{ADMIN_PORT}"?'
    raise UsageError(
        f"{quoted(word)} is neither a server (HOST:PORT, the path of a unix socket, a name in --servers)"
        f" nor a command{near or ' (ctrlstat HOST:PORT help lists them)'}"
    )


def _is_host(word: str) -> bool:
    return ip_version(word) is not None or word.casefold() == "localhost" or _HOST.fullmatch(word) is not None


def read_servers(path: str) -> dict[str, Server]:
    """The servers in a file, by name; UsageError, with the line, where it is no good."""
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise UsageError(f"cannot read {quoted(path)}: {error.strerror or error}") from None
    except ValueError:
        raise UsageError(f"{quoted(path)} is not a text in UTF-8") from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"{quoted(path)} has more than {MOST_BYTES} bytes")
    return servers_in(text, path)


def servers_in(text: str, path: str) -> dict[str, Server]:
    """The servers in the text of a file: one a line, ``lab1 = HOST:PORT`` or without a name; ``#`` begins a comment."""
    found: dict[str, Server] = {}
    for number, given in enumerate(text.splitlines(), 1):
        line = re.sub(r"(?:^|\s)#.*", "", given).strip()
        if not line:
            continue
        try:
            server = _server_in(line)
            if server.name in found:
                raise UsageError(f"{quoted(server.name)} is there twice")
        except UsageError as error:
            raise UsageError(f"{quoted(path)}, line {number}: {error}") from None
        found[server.name] = server
        if len(found) > MOST_SERVERS:
            raise UsageError(f"{quoted(path)} has more than {MOST_SERVERS} servers")
    if not found:
        raise UsageError(f'{quoted(path)} has no server: expected one a line, such as "lab1 = 10.0.0.1:{ADMIN_PORT}"')
    return found


def _server_in(line: str) -> Server:
    name, equals, word = (part.strip() for part in line.partition("="))
    if not equals or not _NAME.fullmatch(name):
        if equals and not set(name) & set(":/"):
            raise UsageError(f"{quoted(name)} is no name: expected letters, digits, and . _ -")
        name, word = "", line
    if name.casefold() in (*COMMANDS, *OWN, *_TAKEN):
        raise UsageError(f"{quoted(name)} is no name for a server: it has a meaning already")
    if len(word.split()) > 1:
        raise UsageError(f'{quoted(line)}: expected one server a line, such as "lab1 = 10.0.0.1:{ADMIN_PORT}"')
    if word and not (":" in word or "/" in word or _is_host(word)) and _NAME.fullmatch(word):
        word = f"{word}:{ADMIN_PORT}"
    return server_of(word, name)
