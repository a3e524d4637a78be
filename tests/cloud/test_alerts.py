"""`deploy/`'s alerts, recording rules and dashboard, in a real Prometheus that asks a real server."""

import json
import math
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mnet.export.format.bundle import Bundle
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Device, eventually
from tests.docs.markdown import ROOT

DEPLOY = ROOT / "deploy"
GROUPS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
PANELS: list[dict[str, Any]] = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
SHOWN: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS: list[str] = [rule["expr"] for rule in RULES] + SHOWN
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus)")
    return found


def test_every_alert_names_its_section_of_the_runbooks_and_fires_in_a_test() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)\n((?:(?!^## ).*\n)*)", page, re.MULTILINE)
    assert [name for name, _ in sections] == [rule["alert"] for rule in ALERTS]
    for name, text in sections:
        assert all(f"**{what}**:" in text for what in ("Means", "Look at", "Do")), name
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
    tests = yaml.safe_load((Path(__file__).parent / "alerts.test.yaml").read_text())["tests"]
    tried = [each for test in tests for each in test["alert_rule_test"]]
    assert {each["alertname"] for each in tried if "exp_alerts" in each} == {rule["alert"] for rule in ALERTS}


def test_the_rules_are_valid_and_alert_when_they_should() -> None:
    promtool = program("promtool")
    for words in (
        ["check", "rules", "deploy/alerts.yaml"],
        ["test", "rules", "tests/cloud/alerts.test.yaml"],
    ):
        done = subprocess.run(
            [promtool, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_watched_is_one_that_the_server_has(server: ServerProcess) -> None:
    said = httpx.get(f"{server.url}/metrics").text
    has = {
        f"{family.name}{suffix}"
        for family in text_string_to_metric_families(said)
        for suffix in SUFFIXES[family.type]
    } | {rule["record"] for rule in RULES if "record" in rule}
    routes = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    for expression in EXPRESSIONS:
        without_labels = re.sub(r'"[^"]*"', '""', expression)
        named = set(re.findall(r"\b(?:mnet|process)[_:][\w:]+", without_labels))
        assert named <= has, expression
        assert named or "up{" in expression
        assert set(re.findall(r'route="([^"]*)"', expression)) <= set(routes), expression


@contextmanager
def prometheus(server: ServerProcess, folder: Path) -> Iterator[httpx.Client]:
    """One with the files of `deploy/`, that asks this server each second."""
    config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [server.url.removeprefix("http://")]}]
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    shutil.copy(DEPLOY / "alerts.yaml", folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [program("prometheus"), f"--config.file={folder / 'prometheus.yaml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1", timeout=10) as http:
            yield http
    finally:
        process.kill()
        process.wait()


def values(http: httpx.Client, expression: str) -> list[float]:
    """What a query gives now; nothing while Prometheus starts."""
    try:
        answer = http.get("/query", params={"query": expression})
    except httpx.TransportError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, (expression, answer.text)
    return [float(each["value"][1]) for each in answer.json()["data"]["result"]]


def test_a_real_prometheus_reads_it_all(
    server: ServerProcess, device: Device, bundle: Bundle, tmp_path: Path
) -> None:
    with prometheus(server, tmp_path) as http:
        eventually(lambda: values(http, 'up{job="mnet"}'), [1.0].__eq__)
        before = sum(values(http, "mnet_upload_to_taken_seconds_count"))
        for turn in range(2):
            version = device.upload([turn + 1, 2])
            release = device.release(bundle.id, after=version - 1)
            device.get(f"/packs/{release.sha256}")
            for _ in range(2):  # what is said twice counts once
                report = {"version": version, "outcome": "taken"}
                assert device.post(f"/devices/{device.id}/reports", report).status_code == 204
        eventually(lambda: values(http, "mnet_upload_to_taken_seconds_count"), [before + 2].__eq__)
        groups = http.get("/rules").json()["data"]["groups"]
        assert sum(len(group["rules"]) for group in groups) == len(RULES)
        known = lambda found: bool(found) and math.isfinite(found[0])  # noqa: E731
        (errors,) = eventually(lambda: values(http, "mnet:errors:ratio_rate5m"), known)
        assert 0 <= errors < 1
        eventually(lambda: values(http, "mnet:stale:ratio"), bool)
        for expression in EXPRESSIONS:
            values(http, expression)  # asserts that it is valid
        rules = [rule for group in http.get("/rules").json()["data"]["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
