"""Which parameters a config means."""

import pytest
from torch import nn

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.build import generated_names
from mnet.toolchain.training.config import load_config

MODEL = nn.ModuleDict({"base": nn.Linear(2, 2), "head": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))})


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ("[head.*]", ("head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias")),
        ("['*.1.*', head.0.bias]", ("head.1.weight", "head.1.bias", "head.0.bias")),
        ("['head.?.weight', 'head.*']", ("head.0.weight", "head.1.weight", "head.0.bias", "head.1.bias")),
    ],
)
def test_patterns_stand_for_parameters_in_the_model_s_order(
    generated: str, expected: tuple[str, ...]
) -> None:
    config = load_config("synthetic-drift/sasrec", [f"metanetwork.generated={generated}"])
    assert generated_names(config, MODEL) == expected


def test_a_pattern_without_a_parameter_is_refused() -> None:
    config = load_config("synthetic-drift/sasrec", ["metanetwork.generated=['tail.*']"])
    with pytest.raises(UserError, match=r"no parameter is called tail\.\*; the model has base.weight"):
        generated_names(config, MODEL)
