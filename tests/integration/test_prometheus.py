"""A real Prometheus scrapes a real server, by the files that we ship: config, alerts, dashboard."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Log, Start, needs, run

ETC = Path(__file__).resolve().parent.parent.parent / "etc"
RULES_TEST = Path(__file__).parent / "prometheus-rules-test.yml"
SCRAPED = "500ms"

pytestmark = [needs("prometheus"), needs("promtool")]


class Prometheus:
    """One with a folder of its own, which scrapes ``target``."""

    def __init__(self, folder: Path, target: str) -> None:
        config = (ETC / "prometheus.yml").read_text().replace("127.0.0.1:9464", target)
        (folder / "prometheus.yml").write_text(re.sub(r"interval: 5s", f"interval: {SCRAPED}", config))
        (folder / "prometheus-rules.yml").write_text((ETC / "prometheus-rules.yml").read_text())
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        process = subprocess.Popen(
            [*command, "--web.listen-address=127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.log = Log(process)
        self.address = self.log.wait(r'msg="Listening on" address=(\S+)')[1]
        self.log.wait("ready to receive web requests")

    def ask(self, path: str, **query: str) -> Any:
        """The ``data`` of an answer of its API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            found = json.load(answer)
        assert "success" == found["status"], found
        return found["data"]

    def query(self, expression: str) -> dict[str, float]:
        """The values of now, by their labels."""
        found = self.ask("query", query=expression)["result"]
        return {json.dumps(each["metric"], sort_keys=True): float(each["value"][1]) for each in found}

    def until(self, expression: str) -> None:
        """Wait for a result."""
        end = time.monotonic() + PATIENCE
        while not self.query(expression):
            assert time.monotonic() < end, (expression, self.ask("targets"))
            time.sleep(0.1)


@pytest.fixture(scope="module")
def daemon(shared: Start) -> Daemon:
    return shared("--udp", "--http", "tcp:0:interface=127.0.0.1")


@pytest.fixture(scope="module")
def prometheus(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{daemon.ports['http']}")
    yield made
    made.log.end()


def test_it_has_the_figures_of_stats(daemon: Daemon, prometheus: Prometheus) -> None:
    with daemon.connect() as client:
        client.sendall(bytes(1024 * 1000))
    stats = daemon.await_stats(packets_total=1000, streams_open=0)
    prometheus.until('ctrlserver_packets_total{listener="data"} == 1000 and ctrlserver_streams_open == 0')
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert ("up", "") == (target["health"], target["lastError"])
    assert 1 == sum(prometheus.query("ctrlserver_build_info").values())
    for field, value in stats.items():
        if field.endswith("_total") and not field.startswith(("closed_", "rejected_")):
            assert [value] == [*prometheus.query(f"sum(ctrlserver_{field})").values()], field
    assert 1 == sum(prometheus.query('ctrlserver_streams_closed_total{reason="eof"}').values())
    assert 0 < sum(prometheus.query("process_cpu_seconds_total").values())


def test_each_query_of_the_dashboard_has_a_result(prometheus: Prometheus) -> None:
    dashboard = json.loads((ETC / "grafana-dashboard.json").read_text())
    prometheus.until("rate(ctrlserver_packets_total[10s])")
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) >= 20
    for query in queries:
        asked = query.replace("$instance", ".*").replace("$__rate_interval", "10s").replace("[1h]", "[10s]")
        assert "$" not in asked
        assert prometheus.query(asked), query
    variables = [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    for variable in variables:
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable)
        assert found is not None, variable
        assert prometheus.ask(f"label/{found[2]}/values", **{"match[]": found[1]}), variable


def test_the_alerts_are_loaded_and_none_fires_of_a_server_that_is_well(prometheus: Prometheus) -> None:
    (group,) = prometheus.ask("rules")["groups"]
    prometheus.until("ctrlserver_ready")
    assert len(group["rules"]) >= 12
    assert [] == [rule["name"] for rule in group["rules"] if rule["alerts"] or rule.get("lastError")]


def test_promtool_finds_the_files_good_and_each_alert_fires_by_its_case() -> None:
    for kind, path in (("check config", ETC / "prometheus.yml"), ("test rules", RULES_TEST)):
        done = run("promtool", *kind.split(), path)
        assert 0 == done.returncode, done
    rules = (ETC / "prometheus-rules.yml").read_text()
    cases = RULES_TEST.read_text()
    for alert in re.findall(r"- alert: (\w+)", rules):
        assert f"name: {alert} fires" in cases
        assert f"name: {alert} is silent" in cases


def test_the_text_of_a_real_server_is_what_promtool_expects(daemon: Daemon) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['http']}/metrics", timeout=PATIENCE) as answer:
        done = run("promtool", "check", "metrics", stdin=answer.read())
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
