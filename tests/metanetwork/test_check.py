"""What cannot be generated is refused by name."""

import pytest
import torch
from torch import Tensor, nn

from mnet.toolchain.metanetwork import MetaNetwork, SetContext, check_generated

IMAGE = torch.randn(2, 3, 8, 8)


class Net(nn.Module):
    """Layers good and bad to generate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.stem_norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 1)
        self.conv_norm = nn.BatchNorm2d(4)
        self.group_norm = nn.GroupNorm(2, 4)
        self.classifier = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.classifier.weight
        self.out = nn.Linear(4, 2)
        self.idle = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x))
        x = self.conv_norm(self.group_norm(self.conv(x)).relu()).mean(dim=(2, 3))
        return self.out(self.tied(self.classifier(x)))


def test_good_layers_pass_and_the_model_is_as_before() -> None:
    model = Net().train()
    model.stem.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generated = [
        "stem.weight",
        "conv.weight",
        "conv.bias",
        "group_norm.weight",
        "conv_norm.weight",
        "out.weight",
    ]
    check_generated(model, generated, [IMAGE])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not model.stem.training
    assert model.conv_norm.training


@pytest.mark.parametrize(
    ("generated", "message"),
    [
        (["classifier.weight"], "cannot generate classifier.weight: it is shared with tied.weight"),
        (["tied.weight"], "cannot generate tied.weight: it is shared with classifier.weight"),
        (["idle.bias"], "cannot generate idle.bias: the forward pass does not use it"),
        (["outt.weight"], "cannot generate outt.weight: the device model has stem.weight, .*out.weight"),
        (["out.weight", "out.weight"], "cannot generate out.weight: it is named twice"),
        ([], "cannot generate nothing: the device model has stem.weight"),
    ],
)
def test_bad_ones_are_refused_by_name(generated: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_generated(Net(), generated, [IMAGE])


def test_a_metanetwork_refuses_by_name_what_needs_no_example() -> None:
    with pytest.raises(ValueError, match="shared with tied"):
        MetaNetwork(Net(), ["classifier.weight"], SetContext(features=3, width=8, classes=2))
