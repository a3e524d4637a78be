"""The manifests of `deploy/kubernetes`: by Kubernetes' own schemas, and by what image and server really take."""

import re
from typing import Any

import httpx
import pytest
import yaml
from typer.main import get_command

import mnet
from mnet.toolchain.cli.app import app
from mnet.toolchain.cloud.server import STOP_WITHIN_S
from mnet.toolchain.fleet.processes import ServerProcess
from tests.docs.markdown import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / name).read_text()) for name in KUSTOMIZATION["resources"]
}
SCHEMAS = "1.30.0"  # the first with a sleep before a stop
POD: dict[str, Any] = MANIFESTS["deployment.yaml"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_valid(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validate.validate(MANIFESTS[name], SCHEMAS, strict=True)
    broken = MANIFESTS[name] | {"spec": MANIFESTS[name]["spec"] | {"replica": 3}}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, SCHEMAS, strict=True)


def test_all_files_are_applied_and_name_each_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"kustomization.yaml", *MANIFESTS}
    labels = POD["metadata"]["labels"]
    of = {name: manifest["spec"] for name, manifest in MANIFESTS.items()}
    assert of["deployment.yaml"]["selector"]["matchLabels"] == labels
    assert of["disruption.yaml"]["selector"]["matchLabels"] == labels
    assert of["network.yaml"]["podSelector"]["matchLabels"] == labels
    assert of["service.yaml"]["selector"] == labels
    assert of["disruption.yaml"]["minAvailable"] < of["deployment.yaml"]["replicas"]
    mounted = {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["spec"]["volumes"]}
    named = {each["secretName"] for each in of["ingress.yaml"]["tls"]}
    named |= {each["secret"]["secretName"] for each in POD["spec"]["volumes"] if "secret" in each}
    named |= {each["valueFrom"]["secretKeyRef"]["name"] for each in CONTAINER["env"] if "valueFrom" in each}
    text = (FOLDER / "kustomization.yaml").read_text()
    assert set(re.findall(r"create secret \w+ ([\w-]+)", text)) == named
    (image,) = KUSTOMIZATION["images"]
    assert (image["name"], image["newTag"]) == (CONTAINER["image"], mnet.__version__)


def test_what_a_container_is_started_with_is_what_serve_takes() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["mnet"]' in dockerfile
    command, *words = CONTAINER["args"]
    serve: Any = get_command(app).commands[command]  # type: ignore[attr-defined]
    parsed = serve.make_context("serve", list(words)).params
    port = CONTAINER["ports"][0]["containerPort"]
    assert parsed["port"] == port
    assert f"EXPOSE {port}" in dockerfile
    taken = {variable for option in serve.params for variable in [option.envvar] if variable}
    assert {each["name"] for each in CONTAINER["env"] if each["name"].startswith("MNET")} <= taken
    mounts = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    for path in (parsed["state"], parsed["state"] / "keys", *parsed["run"], *parsed["bundle"]):
        assert any(str(path) == mount or str(path).startswith(f"{mount}/") for mount in mounts), path
    ingress = MANIFESTS["network.yaml"]["spec"]["ingress"][0]["ports"]
    assert ingress == [{"port": port}]


def test_it_runs_as_nobody_with_nothing_to_write_to() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert f"--uid {pod['runAsUser']}" in dockerfile
    assert pod["runAsNonRoot"]
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    for each in CONTAINER["env"]:
        assert "valueFrom" in each or not re.search("SECRET|KEY|DATABASE", each["name"]), each["name"]
    stop_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + STOP_WITHIN_S
    assert POD["spec"]["terminationGracePeriodSeconds"] > stop_s


def test_probes_and_paths_are_the_servers(server: ServerProcess) -> None:
    paths = {CONTAINER[probe]["httpGet"]["path"] for probe in CONTAINER if probe.endswith("Probe")}
    assert paths == {"/v1/livez", "/v1/readyz"}
    for path in paths:
        assert httpx.get(f"{server.url}{path}").status_code == 200
    (rule,) = MANIFESTS["ingress.yaml"]["spec"]["rules"]
    let_in = [(each["path"], each["pathType"]) for each in rule["http"]["paths"]]
    assert ("/", "Exact") in let_in
    prefixes = [path for path, kind in let_in if kind == "Prefix"]
    apis = [path for path in httpx.get(f"{server.url}/openapi.json").json()["paths"] if path != "/metrics"]
    assert "/v1/devices" in apis
    reached = [path for path in apis if path.startswith(tuple(f"{prefix}/" for prefix in prefixes))]
    assert {*apis} - {*reached} <= {"/healthz"}
    assert not any("/metrics".startswith(prefix) for prefix in prefixes)
