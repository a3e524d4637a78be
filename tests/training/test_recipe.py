"""Training: what a run folder holds, that it comes back as trained, and that a kill costs at most one epoch."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import Config, load_config, parse_config
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run, read_config

QUIET = Console(quiet=True)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_the_folder_holds_all_that_was_promised(small_run: Path, config_file: Path) -> None:
    assert read_config(small_run) == load_config(str(config_file))
    metrics = json.loads((small_run / "metrics.json").read_text())
    assert metrics.keys() == {"static", "cloud", "distillation", "direct", "metanetwork", "fine-tuning"}
    curves = pd.read_csv(small_run / "curves.csv")
    assert curves.groupby("fit")["epoch"].apply(list).to_dict() == {
        "static": [0, 1, 2, 3, 4],
        "cloud": [0, 1],
        "distillation": [0, 1],
        "direct": [0, 1],
        "metanetwork": [0, 1, 2],
    }
    for fit, rows in curves.groupby("fit"):
        assert rows["ndcg@10"].max() == pytest.approx(metrics[fit]["ndcg@10"])
    assert (small_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    names = set(load_file(small_run / "checkpoint.safetensors"))
    assert {"static.head_in.weight", "metanetwork.device_model.head_in.weight"} <= names


def test_it_comes_back_ready_to_generate(small_run: Path) -> None:
    loaded = load_run(small_run)
    assert loaded.name == "movielens-100k/sasrec"
    network = loaded.metanetwork
    assert not network.training
    parameters = network.generate(loaded.task.context([1, 2, 3]))
    static = network.static()
    assert {name: value.shape[1:] for name, value in parameters.items()} == {
        name: value.shape for name, value in static.items()
    }
    assert any(not torch.equal(value[0], static[name]) for name, value in parameters.items())
    inputs = loaded.task.example_inputs(torch.Generator())
    assert network.device_model(*inputs).shape == (1, loaded.task.candidates)


def test_a_killed_run_resumes_and_ends_where_an_unbroken_one_does(
    small_run: Path, config_file: Path, train_command: Callable[[str], list[str]]
) -> None:
    out = config_file.parent / "killed"
    with subprocess.Popen(
        train_command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    ) as process:
        while not (out / "fits" / "metanetwork" / "last.ckpt").is_file():
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not (out / "fits" / "metanetwork" / "done.json").exists()
    with pytest.raises(UserError, match="is not finished"):
        load_run(out)
    last = subprocess.run(train_command("killed"), capture_output=True, text=True, env=ENVIRONMENT)
    assert last.returncode == 0, last.stderr
    assert "static: done before" in last.stderr
    assert "metanetwork: resumes after its last finished epoch" in last.stderr
    assert load_run(out).fingerprint == load_run(small_run).fingerprint


def test_a_finished_run_is_left_alone(small_run: Path, config_file: Path) -> None:
    before = load_run(small_run).fingerprint, (small_run / "metrics.json").stat().st_mtime_ns
    train(load_config(str(config_file)), small_run, QUIET)
    assert (load_run(small_run).fingerprint, (small_run / "metrics.json").stat().st_mtime_ns) == before


def test_a_run_of_another_config_is_not_overwritten(small_run: Path, config_file: Path) -> None:
    with pytest.raises(UserError, match="holds a run of another config"):
        train(load_config(str(config_file), ["seed=1"]), small_run, QUIET)


def one_epoch(config_file: Path) -> Config:
    """The config without a MetaNetwork, cut short."""
    values = yaml.safe_load(config_file.read_text())
    return parse_config(
        {key: values[key] for key in ("task", "data", "model")} | {"static": {"epochs": 1}}, "test"
    )


def test_a_static_run_says_that_it_has_no_metanetwork(config_file: Path, tmp_path: Path) -> None:
    train(one_epoch(config_file), tmp_path / "run", QUIET)
    with pytest.raises(UserError, match="trained no MetaNetwork"):
        _ = load_run(tmp_path / "run").metanetwork


def test_what_is_not_a_run_is_named(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: there is no config\.yaml"):
        load_run(tmp_path)
    for file in ("config.yaml", "facts.json"):
        (tmp_path / file).write_bytes((small_run / file).read_bytes())
    good = (small_run / "checkpoint.safetensors").read_bytes()
    for bad in (b"", good[:100], good[:-4]):
        (tmp_path / "checkpoint.safetensors").write_bytes(bad)
        with pytest.raises(UserError, match="is damaged"):
            load_run(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(good)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="is not YAML"):
        load_run(tmp_path)
    text = (small_run / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("width: 8", "width: 16", 1))
    with pytest.raises(UserError, match="does not fit"):
        load_run(tmp_path)
