"""What differs between two configs, for a server that goes from one to the other while it runs.

Rules:

- A listener is known by its name. Which bound port a listener takes over goes by the address, not by the name: a port
  that one listener gives up and another wants is handed on, and stays bound.
- A port whose number the kernel chose goes on under its own name alone.
- A line is for a person: what changed, from what to what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import fields

from ctrlserver.config.endpoints import (
    behind_proxy,
    datagram_address,
    is_any_port,
    overlap,
    stream_address,
    unix_file,
)
from ctrlserver.config.tree import AdminConfig, Config, HttpConfig, ListenerConfig
from ctrlserver.words import quoted

Port = tuple[str, str]
"""Name and endpoint of a listener."""


def one_port(old: str, new: str) -> bool:
    """Whether two good endpoints are the same port, so that whoever has the old one bound need not bind the new one."""
    for place in (unix_file, datagram_address, stream_address):
        if (one := place(old)) is not None:
            return one == place(new)
    return (behind_proxy(old) or old) == (behind_proxy(new) or new)


def kept_ports(old: Sequence[Port], new: Sequence[Port]) -> list[int | None]:
    """For each of ``new``, the place of the one of ``old`` whose port it takes over; None where it needs a new port."""
    taken: dict[int, int] = {}
    for same_name in (True, False):
        for at, (name, endpoint) in enumerate(new):
            if at in taken.values() or (is_any_port(endpoint) and not same_name):
                continue
            for place, (earlier, bound) in enumerate(old):
                if place not in taken and (earlier == name) >= same_name and one_port(bound, endpoint):
                    taken[place] = at
                    break
    places = {at: place for place, at in taken.items()}
    return [places.get(at) for at in range(len(new))]


def differences(old: Config, new: Config) -> Iterator[str]:
    """A line for each listener, admin port and key that differs, and for http."""
    before = {each.name: each for each in old.listeners}
    after = {each.name: each for each in new.listeners}
    for name, listener in after.items():
        if name not in before:
            yield f"listener {quoted(name)}: added, {listener.endpoint}"
        elif changed := _changed(before[name], listener):
            yield f"listener {quoted(name)}: {', '.join(changed)}"
    for name in before:
        if name not in after:
            yield f"listener {quoted(name)}: removed, its open streams go on"
    yield from _in_admin(old.admin, new.admin)
    yield from _in_http(old.http, new.http)
    yield from _changed(old, new, leave_out=("listeners", "admin", "http"))


def _in_admin(old: Sequence[AdminConfig], new: Sequence[AdminConfig]) -> Iterator[str]:
    places = kept_ports([("", each.endpoint) for each in old], [("", each.endpoint) for each in new])
    for admin, place in zip(new, places, strict=True):
        if place is None:
            yield f"admin {admin.endpoint}: added"
        elif changed := _changed(old[place], admin):
            yield f"admin {admin.endpoint}: {', '.join(changed)}"
    for place, admin in enumerate(old):
        if place not in places:
            yield f"admin {admin.endpoint}: removed, its open connections go on"


def _in_http(old: HttpConfig | None, new: HttpConfig | None) -> Iterator[str]:
    kept = old is not None and new is not None and one_port(old.endpoint, new.endpoint)
    if new is not None and not kept:
        yield f"http {new.endpoint}: added"
    if old is not None and not kept:
        yield f"http {old.endpoint}: removed, its open connections go on"
    if old is not None and new is not None and kept and (changed := _changed(old, new)):
        yield f"http {new.endpoint}: {', '.join(changed)}"


def needs_restart(old: Config, new: Config) -> Iterator[str]:
    """A line for each change that a server which runs cannot make."""
    places = kept_ports(_ports(old), _ports(new))
    for listener, place in zip(new.listeners, places, strict=True):
        if place is None:
            continue
        before = old.listeners[place]
        if before.takes_datagrams and listener.takes_datagrams and before.udp_gro != listener.udp_gro:
            yield f"listener {quoted(listener.name)}: udp_gro needs a restart, or another port"
    for key in ("workers", "balance", "log_format", "history", "keep_totals"):
        if getattr(old, key) != getattr(new, key):
            yield f"{key} needs a restart"


def in_the_way(old: Config, new: Config) -> str:
    """Which port of ``old`` keeps ``new`` from binding one, though it is to be closed; empty if none does."""
    kinds = (_ports, _admin_ports, _http_ports)
    held_ports = [port for ports in kinds for port in ports(old)]
    for before, after in [(ports(old), ports(new)) for ports in kinds]:
        places = kept_ports(before, after)
        for (_, wanted), place in zip(after, places, strict=True):
            for name, held in [] if place is not None else held_ports:
                if overlap(_address(held), _address(wanted)) or (unix_file(held) or "") == unix_file(wanted):
                    what = f"{name} has {held} until then"
                    return f"; {what}: give that up in one reload, and take {wanted} in the next"
    return ""


def _address(endpoint: str) -> tuple[int, str] | None:
    return datagram_address(endpoint) or stream_address(endpoint)


def _admin_ports(config: Config) -> list[Port]:
    return [("the admin port", each.endpoint) for each in config.admin]


def _http_ports(config: Config) -> list[Port]:
    return [] if config.http is None else [("http", config.http.endpoint)]


def _ports(config: Config) -> list[Port]:
    return [(each.name, each.endpoint) for each in config.listeners]


def _changed(
    old: Config | ListenerConfig | AdminConfig | HttpConfig,
    new: Config | ListenerConfig | AdminConfig | HttpConfig,
    leave_out: Sequence[str] = (),
) -> list[str]:
    """``framing fixed:1024 -> line`` for each attribute that differs."""
    names = [each.name for each in fields(type(new)) if each.name not in leave_out]
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    return [f"{name} {_shown(before)} -> {_shown(after)}" for name, before, after in pairs if before != after]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {quoted(each)}" for name, each in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(" -> ".join(each) if isinstance(each, tuple) else str(each) for each in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else quoted(value)
