"""Models of kinds that are common outside of this project, each tiny, with generated parameters of its own choice."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Inverted(nn.Module):
    """MobileNetV3's block: expand, depthwise, squeeze and excite, project; BatchNorm and hard swish."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.expand = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish()
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, 4, 1), nn.ReLU(), nn.Conv2d(4, wide, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        return x + self.project(y * self.squeeze(y))


class MobileNet(nn.Module):
    """Image [1, 3, 16, 16] -> scores [1, 4]; the head is generated, the base has BatchNorm."""

    generated = ("head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias")

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Hardswish())
        self.block = _Inverted(8)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Linear(8, 16), nn.Hardswish(), nn.Linear(16, 4))
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean)  # type: ignore[arg-type]
                nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.block(self.stem(image))).mean((2, 3)))


class TCN(nn.Module):
    """Sensor series [1, 3, 16] -> dilated causal convolutions with weight_norm -> two outputs, [1, 4] and [1, 1]."""

    generated = ("last.weight", "last.bias", "classes.weight", "level.weight", "level.bias")

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 8, 3))
        self.last = nn.Conv1d(8, 8, 3, dilation=2)
        self.skip = nn.Conv1d(3, 8, 1)
        self.classes, self.level = nn.Linear(8, 4), nn.Linear(8, 1)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.elu(self.first(functional.pad(series, (2, 0))))
        x = torch.relu(self.last(functional.pad(x, (4, 0)))) + self.skip(series)
        return self.classes(x[..., -1]), functional.softplus(self.level(x.amax(-1)))


class Encoder(nn.Module):
    """Ids [1, 8] and their mask -> DistilBERT of `transformers`, random weights -> scores [1, 3]."""

    generated = (
        "bert.transformer.layer.1.ffn.lin2.weight",
        "bert.transformer.layer.1.ffn.lin2.bias",
        "head.weight",
    )

    def __init__(self) -> None:
        super().__init__()
        from transformers import DistilBertConfig, DistilBertModel

        config = DistilBertConfig(
            vocab_size=50, dim=16, n_heads=2, n_layers=2, hidden_dim=32, max_position_embeddings=16
        )
        self.bert, self.head = DistilBertModel(config), nn.Linear(16, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0])
