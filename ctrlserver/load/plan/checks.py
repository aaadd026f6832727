"""What goes together in one run, and what does not: the rules of a kind of target.

Rules: each check raises ``UsageError`` in one line, with the flag at fault first.
"""

from __future__ import annotations

from ctrlserver.client.target import TLS, Target
from ctrlserver.errors import UsageError
from ctrlserver.load.plan.modes import REQUEST, SEND
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.results.thresholds import Threshold
from ctrlserver.wire.datagram import DATAGRAM, LONGEST_DATAGRAM
from ctrlserver.wire.probe import HEADER_SIZE


def check_known(thresholds: tuple[Threshold, ...], known: dict[str, bool]) -> None:
    """A condition on what this run will not know is a mistake, not a failure."""
    needed = {
        "received": "--admin",
        "replies": "--mode request",
        "warm_up": "--warm-up",
        "downloaded": "--mode receive",
        "latency": "--mode request or connect",
        "connections": "--mode connect",
        "schedule": "--rate or --profile",
        "delivery": "a udp:HOST:PORT target and --admin",
    }
    for threshold in thresholds:
        sections = [path[0] for path in threshold.paths]
        if not any(known.get(section, True) for section in sections):
            raise UsageError(f"--fail-if: {threshold.expression}: needs {needed[sections[0]]}")
        if all(path[:2] == ("latency", "response") for path in threshold.paths) and not known["schedule"]:
            raise UsageError(f"--fail-if: {threshold.expression}: needs {needed['schedule']}")


def check_datagrams(
    mode: str,
    greeting: str | None,
    framing: str | None,
    reply_framing: str | None,
    size: Sizes | None,
    payload: bytes | None,
) -> None:
    """Over UDP each packet is a datagram, whatever is in it, and the target speaks only when spoken to."""
    if mode not in (SEND, REQUEST):
        raise UsageError(f"--mode {mode}: not over UDP; use send or request")
    if greeting is not None:
        raise UsageError("--greeting: not over UDP, where nobody speaks first")
    for flag, text in (("--framing", framing), ("--reply-framing", reply_framing)):
        if text is not None and text.casefold() != DATAGRAM.text:
            raise UsageError(f"{flag} {text}: over UDP each packet is a datagram; leave the flag out")
    most = len(payload) if payload is not None else 0 if size is None else size.most
    if most > LONGEST_DATAGRAM:
        flag = "--size" if payload is None else "--payload"
        raise UsageError(f"{flag}: {most} bytes are too many, a datagram holds at most {LONGEST_DATAGRAM}")


def check_tls(target: Target, mode: str, greeting: str | None, cafile: str | None, insecure: bool) -> None:
    """The flags of verification are of a plain address: an endpoint string has parameters of its own."""
    for flag, given in (("--cafile", cafile is not None), ("--insecure", insecure)):
        if given and target.transport != TLS:
            raise UsageError(f"{flag}: needs a plain TLS target, such as ssl:localhost:22222")
    if cafile is not None and insecure:
        raise UsageError("--insecure: not with --cafile, which says whom to trust")
    if target.over_tls and mode not in (SEND, REQUEST):
        raise UsageError(f"--mode {mode}: not over TLS; use send or request")
    if target.over_tls and greeting is not None:
        raise UsageError("--greeting: not over TLS")


def check_probe(datagrams: bool, mode: str, size: Sizes | None, payload: bytes | None) -> None:
    """Where packets can be numbered."""
    if not datagrams:
        raise UsageError("--probe: needs a target of datagrams, such as udp:127.0.0.1:22222")
    if mode != SEND:
        raise UsageError("--probe: needs --mode send")
    if payload is not None:
        raise UsageError("--probe: not with --payload; the packets have a header of their own")
    if size is not None and size.least != size.most:
        raise UsageError(f"--probe: needs packets of one size, such as --size {max(size.least, HEADER_SIZE)}")
    if size is not None and size.most < HEADER_SIZE:
        raise UsageError(f"--probe: a probe packet has at least {HEADER_SIZE} bytes; --size {size} is too small")
