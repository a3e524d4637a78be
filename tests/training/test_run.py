"""What a run folder keeps of modules comes back as it was, shared tensors included."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mnet.toolchain.training.run import load_module, save_modules
from tests.training.strangers import LanguageModel


class Sharing(nn.Module):
    """A parameter under two names, two halves of one tensor, and an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        both = torch.randn(2, 4)
        self.register_buffer("upper", both[0])
        self.register_buffer("lower", both[1])
        self.register_buffer("nothing", torch.zeros(0))
        self.register_buffer("nothing_else", torch.zeros(0))


@pytest.mark.parametrize("make", [Sharing, LanguageModel])
def test_shared_tensors_are_written_once_and_shared_again(make: type[nn.Module], tmp_path: Path) -> None:
    saved, loaded = make(), make()
    save_modules(tmp_path / "weights.safetensors", model=saved, other=saved)
    load_module(tmp_path / "weights.safetensors", loaded)
    before, after = saved.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())

    def shared(model: nn.Module, first: str, second: str) -> bool:
        parameters: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
        return parameters[first] is parameters[second]

    pair = ("first.weight", "second.weight") if make is Sharing else ("embedding.weight", "out.weight")
    assert shared(loaded, *pair)
    written = load_file(tmp_path / "weights.safetensors")
    assert (f"model.{pair[0]}" in written) + (f"model.{pair[1]}" in written) == 1
