"""A run that starts from trained weights, and freezes what it is asked to."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from rich.console import Console
from torch import Tensor, nn

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.build import build_module, build_task, load_data
from mnet.toolchain.training.config import Config, load_config, parse_config
from mnet.toolchain.training.export_run import export_spec
from mnet.toolchain.training.fit import ScorerFit
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run


def starting_from(config_file: Path, checkpoint: Path, **changes: object) -> Config:
    """The small config with nothing but a checkpoint and a MetaNetwork of one epoch."""
    config = load_config(str(config_file)).model_dump(
        exclude={"cloud", "distillation", "fine_tuning", "direct"}
    )
    config["static"] = {"checkpoint": str(checkpoint)}
    config["metanetwork"] |= {"start": "static", **changes}
    config["metanetwork"]["fit"] |= {"epochs": 1}
    return parse_config(config, "the config of a checkpoint")


def trained_model(config: Config) -> nn.Module:
    """What a user has: a device model, trained elsewhere."""
    task = build_task(config, type_facts(config))
    torch.manual_seed(11)
    model = build_module("static", task, config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def type_facts(config: Config) -> dict[str, object]:
    from mnet.toolchain.tasks import find_task

    return dict(find_task(config.task.name).facts(load_data(config)))


@pytest.mark.parametrize("freeze", [["*"], ["encoder.*"]])
def test_the_default_pack_of_a_frozen_base_is_the_users_model(
    config_file: Path, tmp_path: Path, freeze: list[str]
) -> None:
    path = tmp_path / "best.safetensors"
    config = starting_from(config_file, path, freeze=freeze)
    model = trained_model(config)
    safetensors.torch.save_file(model.state_dict(), path)
    train(config, tmp_path / "run", Console(quiet=True))
    run = load_run(tmp_path / "run")
    spec = export_spec(run)
    kept = spec.model.state_dict()
    whole = freeze == ["*"]
    for name, value in model.state_dict().items():
        frozen = whole or name.startswith("encoder.")
        assert torch.equal(kept[name], value) == frozen or not frozen, name
    changed = [name for name, value in model.state_dict().items() if not torch.equal(kept[name], value)]
    assert bool(changed) != whole
    if whole:
        for inputs in spec.inputs:
            assert torch.equal(spec.model.eval()(*inputs), model(*inputs))
        assert {name: each.tobytes() for name, each in numbers(run.metanetwork.static()).items()} == {
            name: each.tobytes()
            for name, each in numbers(dict(model.named_parameters())).items()
            if name in spec.generated
        }
    assert torch.equal(run.static.state_dict()[next(iter(kept))], model.state_dict()[next(iter(kept))])


def numbers(parameters: dict[str, Tensor]) -> dict[str, object]:
    return {name: value.detach().numpy() for name, value in parameters.items()}


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(config_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    safetensors.torch.save_file({"tail.weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match=r"does not fit SASRec: .*the module has no tail\.weight"):
        train(starting_from(config_file, path), tmp_path / "run", Console(quiet=True))
    with pytest.raises(UserError, match=r"metanetwork\.freeze: no parameter is called tail\.\*"):
        train(starting_from(config_file, path, freeze=["tail.*"]), tmp_path / "other", Console(quiet=True))


def test_norms_of_frozen_layers_keep_their_statistics() -> None:
    scorer = nn.ModuleList([nn.BatchNorm1d(2), nn.BatchNorm1d(2)])
    scorer[0].requires_grad_(False)
    fitting = ScorerFit(scorer, None, None, seed=0).train()
    fitting.on_train_batch_start(None, batch_idx=1)
    assert [norm.training for norm in scorer] == [False, True]
