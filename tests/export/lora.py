"""A causal transformer with LoRA on q and v, as PEFT writes it: B(A(x)) * alpha / r added to a frozen Linear."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.export.lowering.spec import ExportSpec

WIDTH, LENGTH, RANK, VOCABULARY = 16, 6, 8, 30


class Lora(nn.Module):
    """A frozen Linear plus a low-rank one, scaled by alpha / r = 2."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH)
        self.lora_A, self.lora_B = nn.Linear(WIDTH, RANK, bias=False), nn.Linear(RANK, WIDTH, bias=False)
        self.scaling = 2 * RANK / RANK

    def forward(self, x: Tensor) -> Tensor:
        adapted = self.lora_B(self.lora_A(x.to(self.lora_A.weight.dtype)))
        return self.base(x) + adapted * self.scaling


class Block(nn.Module):
    """Causal attention, before it a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.q_proj, self.k_proj, self.v_proj, self.out = (
            Lora(),
            nn.Linear(WIDTH, WIDTH),
            Lora(),
            nn.Linear(WIDTH, WIDTH),
        )

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


def lora_spec() -> ExportSpec:
    """An export of it whose generated parameters are all factors."""
    torch.manual_seed(0)
    model = CausalTransformer().eval()
    names = tuple(name for name, _ in model.named_parameters() if "lora" in name)
    inputs = tuple((torch.randint(0, VOCABULARY, (1, LENGTH)),) for _ in range(2))
    return ExportSpec("lora", model, names, inputs, ("tokens",), ("scores",))
