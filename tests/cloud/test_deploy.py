"""The compose file as it is read, for nobody runs Docker here: HTTPS alone, a secret a service, no loose image."""

import re
from typing import Any

import pytest
import yaml

from tests.docs.markdown import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment_and_no_image_is_loose(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        assert not re.search("PASSWORD$|SECRET|KEY$", variable), variable
        assert "@" not in str(value), variable
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    assert "build" in service or re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", service["image"])


def test_phones_are_served_over_https_alone_and_each_secret_is_a_file_of_its_own() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["443:443"]
    nginx = COMPOSE["configs"]["nginx"]["content"]
    assert re.findall(r"listen (.*);", nginx) == ["443 ssl"]
    files = [secret["file"] for secret in COMPOSE["secrets"].values()]
    assert len(set(files)) == len(files) >= 4


def test_the_image_is_built_of_all_that_the_package_is_made_of() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        name for line in re.findall("^COPY (.*) .*$", dockerfile, re.MULTILINE) for name in line.split()
    }
    folders = re.findall(r'^    "mnet[\w.]*": "(\w+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert len(folders) >= 4
    assert {*folders, "setup.py", "pyproject.toml"} <= copied
    assert all((ROOT / name).exists() for name in copied)
