"""How much memory a run takes at most, said before it starts: a catalogue of a million items is more than some have."""

from collections.abc import Mapping
from typing import Any

import torch
from rich.console import Console
from torch import nn

from mnet.toolchain.data.memory import machine_memory
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks import Task
from mnet.toolchain.training.build import WORLD, fits
from mnet.toolchain.training.config import Config

# Python, PyTorch and Lightning by themselves.
ALONE = 500 * 2**20
# A weight that is trained: itself, its gradient, two moments of AdamW, its average over steps, and the best epoch's.
TRAINED = 6


def memory_bounds(
    task: Task[Any], config: Config, data: Any, modules: Mapping[str, nn.Module]
) -> dict[str, int]:
    """At most so many bytes of main memory by each fit, and by the tests of `evaluation`; empty for a task that does
    not say.
    """
    kept = ALONE + sum(4 * _weights(module) for module in modules.values())
    found = {}
    for name, settings in fits(config).items():
        of_batches = task.working_bytes(data, settings.batch_size, world=name == WORLD)
        if of_batches is None:
            return {}
        own = 4 * (TRAINED - 1) * _weights(modules[name])
        found[name] = kept + own + max(of_batches.training, of_batches.evaluation)
    tested = task.working_bytes(data, 1, world=WORLD in modules)
    assert tested is not None
    found["evaluation"] = kept + tested.evaluation + tested.figures * (len(modules) + 3)
    return found


def check_memory(bounds: Mapping[str, int], console: Console) -> None:
    """Print the largest bound. Raises UserError, with what to set, where that is more than the machine has."""
    if not bounds:
        return
    name = max(bounds, key=bounds.__getitem__)
    has = machine_memory()
    console.print(f"memory: at most {_size(bounds[name])}, by {name}; this machine has {_size(has)}")
    if bounds[name] > has and not torch.cuda.is_available():
        raise UserError(
            f"{name} would take up to {_size(bounds[name])} of memory, and this machine has {_size(has)}: set "
            "task.negatives, a smaller batch_size of that fit or a smaller model.width, or leave rare items out"
        )


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
