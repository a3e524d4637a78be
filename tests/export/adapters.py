"""A causal transformer without adapters, and folders of PEFT with LoRA for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, LENGTH, VOCABULARY = 16, 6, 30
TARGETS = ["q_proj", "v_proj"]


class Block(nn.Module):
    """Causal attention, before it a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.q_proj, self.k_proj, self.v_proj, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (
            project(y).unflatten(-1, (2, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).flatten(2))


class CausalTransformer(nn.Module):
    """Tokens [1, L] -> two blocks -> scores of the next token at each position, [1, L, V], by tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def build() -> CausalTransformer:
    """It, with the same weights each time."""
    torch.manual_seed(0)
    return CausalTransformer().eval()


def write_adapter(
    folder: Path,
    seed: int,
    module: nn.Module | None = None,
    targets: Sequence[str] = TARGETS,
    trained: bool = True,
    **config: Any,
) -> Path:
    """Have PEFT make and save an adapter; one that was not `trained` has B of zeros."""
    from peft import LoraConfig, get_peft_model

    settings = {"r": 8, "lora_alpha": 16, "target_modules": list(targets), **config}
    model = get_peft_model(build() if module is None else module, LoraConfig(**settings))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if trained and "lora_" in name:
            nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(str(folder))
    return folder
