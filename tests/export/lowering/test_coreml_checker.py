"""The checker's ops, each against PyTorch: a model that uses them is converted, saved, and read again."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import mnet.export.targets.ios as coreml
from mnet.export.lowering.coreml_checker import SavedProgram
from mnet.export.lowering.spec import ExportSpec


class Zoo(nn.Module):
    """Image [1, 4, 8, 8] and ids [1, 6] -> one vector, through an op of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False)
        self.grouped = nn.Conv2d(4, 8, (1, 3), dilation=(1, 2), groups=2)
        self.norm, self.batch_norm = nn.LayerNorm(8), nn.BatchNorm2d(4)
        nn.init.uniform_(self.batch_norm.running_mean)
        self.table, self.slopes = nn.Embedding(9, 8), nn.PReLU(8)

    def forward(self, image: Tensor, ids: Tensor) -> Tensor:
        x = functional.relu6(self.batch_norm(torch.tanh(image))) + self.batch_norm(image).clamp(-0.5, 0.5)
        x = torch.cat([self.same(x).flatten(1), functional.silu(self.grouped(x)).mean((2, 3))], dim=1)
        y = self.norm(self.table(ids))
        y = torch.where((ids > 4).unsqueeze(-1), functional.gelu(y), functional.leaky_relu(y, 0.1))
        first, second = self.slopes(y.transpose(1, 2)).split([2, 4], dim=2)
        first = torch.rsqrt(first.abs() + 1).exp() * torch.sigmoid(first).sqrt()
        second = torch.softmax(second.permute(0, 2, 1), -1) @ second
        stacked = torch.stack([first.sum(2), second.square().mean(1).repeat(1, 2)], dim=1)
        present = torch.logical_and(ids != 3, ids >= 1).float().sum(1, keepdim=True)
        pieces = [x, stacked[:, 1, ::2], first.flatten(1), torch.maximum(second[..., 0], -second[..., 1])]
        return torch.cat(pieces, dim=1) / (1 + present)


def test_every_op_gives_what_pytorch_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Zoo().eval().requires_grad_(False)
    inputs = (torch.randn(1, 4, 8, 8), torch.tensor([[0, 1, 3, 5, 8, 8]]))
    spec = ExportSpec("zoo", model, ("norm.weight",), (inputs,), ("image", "ids"), ("y",))
    coreml.write_baked(model, spec, tmp_path)
    program = SavedProgram(tmp_path / coreml.BAKED_FILE)
    assert len(set(program.ops())) > 25
    output = program.run({"image": inputs[0], "ids": inputs[1].int()})["y"]
    expected = model(*inputs)
    assert output.shape == expected.shape
    assert (output - expected).abs().max() < 5e-3 * max(1, expected.abs().max())
