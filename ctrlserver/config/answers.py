"""The key ``answers`` of a listener: an array of tables, each a rule (``inject/rules.py``)."""

from __future__ import annotations

from ctrlserver.config.paths import InnerKeyError, below, shown, step
from ctrlserver.errors import ConfigError
from ctrlserver.inject.rules import LONGEST_DELAY, MOST_RULES, Rule
from ctrlserver.units import parse_count, parse_duration
from ctrlserver.words import did_you_mean

KEYS = ("when", "with", "times", "delay")


def read_answers(value: object) -> tuple[Rule, ...]:
    """The rules, in order; ``ConfigError`` or ``InjectionError`` for the first that is wrong."""
    if not isinstance(value, list | tuple) or len(value) > MOST_RULES:
        expected = f"""expected an array of tables such as {{when = "PING", with = 'PONG\\n'}}, at most {MOST_RULES}"""
        raise ConfigError(f"{shown(value)}: {expected}")
    rules = []
    for at, each in enumerate(value):
        with below(f"[{at}]"):
            rules.append(_rule(each))
    return tuple(rules)


def _rule(table: object) -> Rule:
    if not isinstance(table, dict):
        raise ConfigError(f"""{shown(table)}: expected a table such as {{when = "PING", with = 'PONG\\n'}}""")
    for key in table:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f": expected one of {', '.join(KEYS)}"
            raise InnerKeyError(step(key), f"unknown key{hint}")
    for key in ("when", "with"):
        if not isinstance(table.get(key), str):
            given = f"{shown(table[key])}: expected a text" if key in table else f'expected the key "{key}"'
            raise InnerKeyError(step(key) if key in table else "", given)
    times, delay = None, 0.0
    if "times" in table:
        with below(".times"):
            times = parse_count(table["times"])
            if not times:
                raise ConfigError("0: expected at least 1, or no such key for any number")
    if "delay" in table:
        with below(".delay"):
            delay = parse_duration(table["delay"])
            if delay > LONGEST_DELAY:
                raise ConfigError(f'{shown(table["delay"])}: expected a duration of at most "1h"')
    return Rule(table["when"], table["with"], times, delay)
