"""What was not tested: the run ends with a line for each group of skipped tests and why.

In CI (`CI=true`) a group that CI can have fails the run, because a green run that skipped it says nothing about it.
"""

import os
from collections import defaultdict
from typing import Any

import pytest

# Group -> where its tests are. CI has the Debian packages of packages.debian and the tools of the Android demo.
GROUPS = {
    "C++": "tests/native/",
    "PostgreSQL": "[postgresql",
    "Prometheus": "tests/cloud/test_alerts.py",
    "SoftHSM": "tests/cloud/test_token_keys.py",
    "browser": "tests/report/test_browser.py",
    "JVM core": "tests/android/test_core.py",
}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for group, reasons in skipped_groups(terminalreporter.stats.get("skipped", ())).items():
        for reason, count in reasons.items():
            terminalreporter.write_line(f"not tested: {group}, {count} tests: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of pytest-xdist: the process that started it has all reports
        return
    blind = GROUPS.keys() & skipped_groups(reporter.stats.get("skipped", ())).keys()
    if blind and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(
            f"\nCI must test {', '.join(sorted(blind))}: install what is missing, `make system`"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def skipped_groups(reports: Any) -> dict[str, dict[str, int]]:
    """How many tests of each group were skipped for each reason."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for report in reports:
        *_, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, report.longrepr)
        group = next((name for name, where in GROUPS.items() if where in report.nodeid), "other")
        found[group][str(reason).removeprefix("Skipped: ")] += 1
    return found
