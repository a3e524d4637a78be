"""Whose code a run may load: that of runs begun here, and no stranger's, unless a person says so."""

import shutil
from pathlib import Path

import pytest
import yaml

from mnet.toolchain.training.trust import check, remember
from tests.mnet_command import Mnet

EVIL = """\
from pathlib import Path

Path("owned").touch()


def load(**_):
    raise SystemExit("it ran")
"""


@pytest.mark.parametrize("place", ["model", "context", "data", "task"])
def test_a_fetched_run_runs_no_code(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnet: Mnet, place: str
) -> None:
    """As `torch.hub:load` with a `hubconf.py` in the folder where somebody exports."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MNET_TRUST_CODE", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strange.py").write_text(EVIL)
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    section = config["metanetwork"] if place == "context" else config
    section[place] = {"name": "strange:load"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for command in (
        ["export", run, "--target", "android", "--out", tmp_path / "bundle"],
        ["evaluate", run],
    ):
        code, _, stderr = mnet(*command)
        assert (code, "names code to run: strange:load" in stderr.replace("\n", " ")) == (2, True), stderr
    assert not (tmp_path / "owned").exists()


def test_what_was_begun_here_or_is_trusted_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    config, values = tmp_path / "config.yaml", {"model": {"name": "mine:Model"}, "path": "a:b"}
    config.write_text(yaml.safe_dump(values))
    with pytest.raises(Exception, match="It was not begun on this machine"):
        check(config, values)
    monkeypatch.setenv("MNET_TRUST_CODE", "1")
    check(config, values)
    monkeypatch.delenv("MNET_TRUST_CODE")
    remember(config)
    check(config, values)
    config.write_text(yaml.safe_dump(values | {"seed": 1}))
    with pytest.raises(Exception, match="mine:Model"):
        check(config, values)
