"""The outcome of a run as JUnit XML, for CI systems.

Rules: one suite for the run, with a case for the run itself (an error if it failed or was interrupted), one for the
reconciliation (skipped if no server was asked), and one for each ``--fail-if``. The document keeps to two schemas: that
of Ant's JUnit task, the strictest in use, for attributes and order; and that of Jenkins, for times with three digits.

Beware: XML cannot hold most control characters and lone surrogates; the document shows their escapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from ctrlserver.load.results.result import Result
from ctrlserver.load.results.thresholds import Judgement

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(result: Result, hostname: str, summary: Sequence[str], errors: Sequence[str]) -> str:
    """The document; ``summary`` and ``errors`` are the lines that people see."""
    cases = [_run_case(result), _reconciliation_case(result), *(_threshold_case(one) for one in result.thresholds)]
    measured = result.connections or result.downloaded or result.sent
    seconds = f"{measured.seconds + (result.warm_up.seconds if result.warm_up is not None else 0.0):.3f}"
    suites = ElementTree.Element("testsuites")
    suite = _element(
        suites,
        "testsuite",
        name=", ".join([f"ctrlload run {result.target}", *_division(result)]),
        package="ctrlload",
        id="0",
        timestamp=result.started[:19],  # the schema wants it without a zone; it is UTC
        hostname=hostname or "localhost",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time=seconds,
    )
    properties = _element(suite, "properties")
    for name, value in _properties(result):
        _element(properties, "property", name=name, value=value)
    for case in cases:
        case.set("classname", "ctrlload.run")
        case.set("time", seconds if case is cases[0] else "0")
        suite.append(case)
    _element(suite, "system-out").text = _plain("".join(f"{line}\n" for line in summary))
    _element(suite, "system-err").text = _plain("".join(f"ctrlload: {line}\n" for line in errors))
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def _run_case(result: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name="run")
    if result.error is not None:
        _element(case, "error", message=result.error, type="failed")
    elif result.interrupted:
        _element(case, "error", message="interrupted: the counts are those up to then", type="interrupted")
    return case


def _reconciliation_case(result: Result) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name="reconciliation")
    if result.reconciled is None:
        asked = result.options.get("admin") is not None
        why = "the server's counts are not known" if asked else "no server was asked: there was no --admin"
        _element(case, "skipped", message=why)
    elif result.mismatch is not None:
        _element(case, "failure", message=result.mismatch, type="reconciliation")
    return case


def _threshold_case(judgement: Judgement) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name=_plain(f"fail-if {judgement.expression}"))
    if judgement.failed:
        words = f"{judgement.expression} held: the value is {judgement.words}, the bound is {judgement.bound}"
        _element(case, "failure", message=words, type="fail-if")
    return case


def _division(result: Result) -> list[str]:
    """Which shard it is, or how many it was merged from; nothing of a load that is not divided."""
    return [part.words for part in (result.shard, result.merged) if part is not None]


def _properties(result: Result) -> list[tuple[str, str]]:
    """What a person needs to understand a failed run without another file."""
    named = [(f"label.{key}", value) for key, value in result.labels.items()]
    named += [("division", words) for words in _division(result)]
    named += [
        ("target", result.target),
        ("mode", str(result.options.get("mode"))),
        ("streams", str(result.options.get("streams"))),
        ("ctrlserver", result.environment.ctrlserver),
    ]
    if result.injections is not None:
        named += [
            ("inject", result.injections.spec),
            ("seed", str(result.injections.seed)),
            ("injected", result.injections.words),
        ]
    if result.server_injections is not None:
        named.append(("server_injections", result.server_injections.words))
    connected, volume = result.connections, result.downloaded or result.sent
    figures = {
        "packets": volume.packets,
        "bytes": volume.bytes,
        "packets_per_second": volume.packets_per_second,
    }
    if connected is not None:
        figures = {
            "connections": connected.opened,
            "failed_connections": connected.failed,
            "connections_per_second": connected.connections_per_second,
        }
    return named + [(name, str(value)) for name, value in figures.items() if value is not None]


def _element(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {name: _plain(value) for name, value in attributes.items()})


def _plain(text: str) -> str:
    """``text``, with escapes for what XML cannot hold."""
    return _NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
