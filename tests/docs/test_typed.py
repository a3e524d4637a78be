"""Each command that a page has people type is run as a command: here, or by the test that is named for its verb."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mnet.export.format.bundle import Bundle
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import enrol
from tests.docs.markdown import PAGES, ROOT, command_lines
from tests.mnet_command import Mnet

CONFIG = "my.yaml"
# What takes longer, runs until it is stopped, or needs the network; verb -> the test that runs it.
ELSEWHERE = {
    "train": "tests/docs/test_tutorial.py",
    "serve": "tests/docs/test_tutorial.py",
    "device": "tests/docs/test_tutorial.py",
    "demo": "tests/demo/test_story.py",
    "simulate": "tests/fleet/test_simulate.py",
    "faults": "tests/fleet/test_faults.py",
    "growth": "tests/export/bench/test_growth.py",
    "matrix": "tests/export/test_commands.py",
    "room": "tests/training/test_room.py",
    "ablate": "tests/training/test_ablation.py",
    "data": "tests/cli/test_data.py",
    "init": "tests/cli/test_starter.py",
    "pack": "tests/export/test_adapters.py",
    "cohort": "tests/cloud/test_pushed_packs.py",
    "world": "tests/cloud/test_world_packs.py",
    "ab": "tests/cloud/test_experiments.py",
    "operator": "tests/cloud/test_operators.py",
    "approve": "tests/cloud/test_operators.py",
    "audit": "tests/cloud/test_operators.py",
}
# What is run by tests of a phone on a cable, of modules of one's own (docs/bring.md), of packs of one's own, and of
# keys on a token (tests/cloud/test_token_keys.py).
OWN = re.compile(r"push --adb|export nets:|push --pack|keys create .*--signing-key")
# What this machine need not have; the same line without it is run.
NEEDS = re.compile(r" --on (?:native|adb)| --engine ray| --into \S+")
# In this order: what writes comes before what reads.
STAGES = (
    *("configs", "targets", "check", "tune", "export", "verify", "inspect", "evaluate", "staleness", "cost"),
    *("policies", "bench", "report", "keys create", "keys list", "generate", "publish", "push", "history"),
    *("fleet", "backup", "restore"),
    *("rollback", "forget", "keys rotate", "keys retire", "keys root", "keys pin", "keys issuer"),
)


def typed() -> Iterator[str]:
    """The lines of all pages without `mnet`, each once, with the names that they have here."""
    lines = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line in [*command_lines(text), *re.findall(r"Examples?: `(.*?)`", text)]:
            for command in re.findall(r"(?:^|\bbin/|\bdo |&& )mnet ([^;|&>]+)", line):
                if not OWN.match(command):
                    lines.add(named(command.strip()))
    yield from sorted(lines)


def named(line: str) -> str:
    line = re.sub(r"\b(?:runs/[\w-]+|demo-out/run)", "runs/ml", line)
    line = re.sub(r" bundle(?= |$)|bundles/(?:mine|jukebox|drift|tflite)", " bundles/ml", NEEDS.sub("", line))
    line = re.sub(r" -o ", " --out ", re.sub(r" -b ", " --bundle ", re.sub(" +", " ", line)))
    line = re.sub(r"http://127.0.0.1:\d+", "URL", line)
    line = re.sub(r"^(check|tune) \S+", rf"\1 {CONFIG}", line)
    line = re.sub(r" --data [\w-]+=\S+", "", line)
    line = re.sub(r"s3://fleet/contexts|contexts/", "c.parquet", re.sub(r"s3://fleet/[\d-]+", "packs", line))
    return line.replace("--operator-key ...", "--operator-key server/keys/operator.key")


def place(line: str) -> tuple[int, bool, str] | None:
    """Where it stands among the others; None for what runs elsewhere. ValueError for a verb that nothing runs."""
    verb, *more = line.split()
    if verb in ELSEWHERE:
        return None
    stage = STAGES.index(f"{verb} {more[0]}" if verb == "keys" else verb)
    return stage, "--rollout" in line, line  # a roll-out begins before it is extended


def test_what_is_not_run_here_is_run_elsewhere() -> None:
    for verb, test in ELSEWHERE.items():
        text = (ROOT / test).read_text(encoding="utf-8")
        assert re.search(rf'["\x27]{verb}["\x27]', text) or test.endswith("tutorial.py"), f"{verb}: {test}"
    tutorial = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    for verb in (verb for verb, test in ELSEWHERE.items() if test.endswith("tutorial.py")):
        assert f"mnet {verb} " in tutorial


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are typed: with a config, a run of it, and contexts."""
    shutil.copytree(tiny_run, tmp_path / "runs" / "ml")
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    few = {name: config[name] for name in ("data", "task", "model", "static", "metanetwork", "seed")}
    (tmp_path / CONFIG).write_text(yaml.safe_dump(few))
    contexts = {"device": [f"{user:04d}" for user in range(20)], "samples": [[3, 14, 15]] * 20}
    pq.write_table(pa.table(contexts), tmp_path / "c.parquet")
    (tmp_path / "usb").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(900)
def test_every_line(mnet: Mnet, folder: Path, tiny_bundle: Path) -> None:
    placed = sorted(filter(None, map(place, typed())))
    made: set[str] = set()
    server: ServerProcess | None = None
    try:
        for _, _, line in placed:
            if line.startswith("export "):
                line, out = own_folder(line)
                if out in made:  # the same, into a folder of another name
                    continue
                made.add(out)
            elif line.startswith("publish"):
                shutil.copytree(tiny_bundle, folder / "served")
                server = ServerProcess(folder / "runs/ml", folder / "served", folder / "server")
                with httpx.Client(base_url=f"{server.url}/v1") as http:
                    device = enrol(http, server, Bundle.load(folder / "served")).id
            else:
                line = re.sub(
                    r"bundles/[\w-]+", lambda name: name[0] if name[0] in made else "bundles/ml", line
                )
            if server is not None:
                line = line.replace("--server URL", f"--server {server.url}")
                line = re.sub(r"forget \w+", f"forget {device}", line)
            line += " --swaps 5" * line.startswith(("bench", "report")) + " --target none" * line.startswith(
                "check"
            )
            line += " --yes" * line.startswith(("push", "forget"))
            line += " --trials 1" * line.startswith("tune")
            code, out, err = mnet(*shlex.split(line))
            assert code == 0, f"mnet {line}\n{out}\n{err}"
    finally:
        if server is not None:
            server.stop()
    assert len(made) >= 6


def own_folder(line: str) -> tuple[str, str]:
    """An export, and where it goes: a folder of its own, so that the first into `bundles/ml` is the plain one."""
    line = re.sub(r" --out bundles/[\w-]+", "", line)
    words = re.findall(r"--(?:target|binding|pack-dtype|quantize) (\S+)", line)
    out = "bundles/" + ("ml" if words == ["android"] else "-".join(["ml", *words]))
    return f"{line} --out {out}", out
