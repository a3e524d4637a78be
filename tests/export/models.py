"""Small models whose generated layers are no Linear, or not easily reached."""

import torch
from torch import Tensor, nn

from mnet.export.lowering.spec import ExportSpec


class ConvNet(nn.Module):
    """Image [B, 3, H, W] -> convolutions, plain and depthwise -> class scores [B, 4]."""

    generated = ("conv.weight", "conv.bias", "depthwise.weight", "depthwise.bias", "scores.weight")

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.conv = nn.Conv2d(6, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.scores = nn.Linear(8, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.conv(torch.relu(self.stem(image))))
        return self.scores(self.depthwise(x).mean((2, 3)))


class Normalized(nn.Module):
    """A BatchNorm behind the generated convolution: exporters fold the two into one."""

    generated = ("conv.weight", "conv.bias")

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        nn.init.uniform_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(image))).mean((2, 3))


class Separable(nn.Module):
    """Image [B, 3, H, W] -> depthwise-separable convolutions, the last point-wise one generated -> scores [B, 4]."""

    generated = ("last.weight", "last.bias", "scores.weight", "scores.bias")

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Conv2d(8, 16, 1)
        self.scores = nn.Linear(16, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(image)))
        return self.scores(torch.relu(self.last(self.depthwise(x))).mean((2, 3)))


class Recurrent(nn.Module):
    """History [B, L] -> GRU -> generated Linear -> scores of candidates [B, C]."""

    generated = ("head.weight", "head.bias")

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(50, 16)
        self.gru = nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 16)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        hidden = self.head(self.gru(self.items(history))[0][:, -1])
        return (self.items(candidates) @ hidden.unsqueeze(-1)).squeeze(-1)


def image_spec(model: nn.Module, generated: tuple[str, ...], binding: str | None = None) -> ExportSpec:
    """An export of a model that takes one image."""
    generator = torch.Generator().manual_seed(1)
    inputs = tuple((torch.randn(1, 3, 16, 16, generator=generator),) for _ in range(3))
    return ExportSpec("images", model, generated, inputs, ("image",), ("scores",), binding=binding)
