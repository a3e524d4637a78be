"""Samples a second of training's forward and backward pass, of all packs at once, next to pack by pack and to no packs.

    python -m tests.benchmarks.batched --packs 32 --rows 4 --seconds 6

Each built-in model runs with weights of its own for every pack: all packs at once (`under`, as training does), one pack
after the other (`under(..., one_by_one=True)`: `functional_call` in a loop), and with one set of weights for the whole
batch, as the static model is trained. The three take turns in one process on the same batch, so that whatever else the
machine does falls on all alike. Printed are medians: samples a second, and the ratios of the time of the other two to
that of all at once: how much faster it is than the loop, and what share of the static model's speed it has.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mnet.device_models.cnn import CNN, CNNConfig
from mnet.device_models.din import DIN, DINConfig
from mnet.device_models.gru4rec import GRU4Rec, GRU4RecConfig
from mnet.device_models.micro_cnn import MicroCNN, MicroCNNConfig
from mnet.device_models.moving_averages import MovingAverages, MovingAveragesConfig
from mnet.device_models.sasrec import SASRec, SASRecConfig
from mnet.export.format.golden import flattened
from mnet.toolchain.metanetwork import under

ITEMS, HISTORY, CANDIDATES = 1000, 10, 100
MODELS: dict[str, Callable[[], nn.Module]] = {
    "sasrec": lambda: SASRec(SASRecConfig(ITEMS, history=HISTORY)),
    "gru4rec": lambda: GRU4Rec(GRU4RecConfig(ITEMS, history=HISTORY)),
    "din": lambda: DIN(DINConfig(ITEMS, history=HISTORY)),
    "moving-averages": lambda: MovingAverages(MovingAveragesConfig(ITEMS, history=HISTORY)),
    "cnn": lambda: CNN(CNNConfig(10)),
    "micro": lambda: MicroCNN(MicroCNNConfig(10)),
}


def example(name: str, rows: int) -> tuple[Tensor, ...]:
    """A batch of `rows` samples."""
    if name in ("cnn", "micro"):
        return (torch.rand(rows, 3, 32, 32),)
    return torch.randint(1, ITEMS, (rows, HISTORY)), torch.randint(1, ITEMS, (rows, CANDIDATES))


def measure(name: str, packs: int, rows: int, seconds: float) -> dict[str, float]:
    """Medians over turns of the three ways."""
    torch.manual_seed(0)
    model, batch = MODELS[name]().train(), example(name, packs * rows)
    names: list[str] = model.generated  # type: ignore[assignment]
    shared = {key: model.get_parameter(key).detach() for key in names}
    own = {
        key: (value + 0.1 * torch.randn(packs, *value.shape)).requires_grad_()
        for key, value in shared.items()
    }
    one = {key: value.clone().requires_grad_() for key, value in shared.items()}

    def step(run: Callable[[], object], leaves: dict[str, Tensor]) -> float:
        start = time.perf_counter()
        total = torch.stack([output.square().mean() for output in flattened(run())]).sum()
        torch.autograd.grad(total, [*leaves.values()])
        return time.perf_counter() - start

    ways: dict[str, Callable[[], float]] = {
        "at once": lambda: step(lambda: under(model, own)(*batch), own),
        "pack by pack": lambda: step(lambda: under(model, own, one_by_one=True)(*batch), own),
        "static": lambda: step(lambda: functional_call(model, one, batch), one),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for measured in ways.values():
        measured()
    stop = time.monotonic() + seconds
    for turn in itertools.count():
        order = [*ways][turn % 3 :] + [*ways][: turn % 3]
        for way in order:
            times[way].append(ways[way]())
        if time.monotonic() > stop and turn >= 5:
            break
    once, each, static = (statistics.median(times[way]) for way in ways)

    def ratio(way: str) -> float:
        pairs = zip(times[way], times["at once"], strict=True)
        return round(statistics.median(other / ours for other, ours in pairs), 3)

    return {
        "turns": len(times["static"]),
        "at once, samples/s": round(packs * rows / once, 1),
        "pack by pack, samples/s": round(packs * rows / each, 1),
        "static, samples/s": round(packs * rows / static, 1),
        "faster than pack by pack": ratio("pack by pack"),
        "share of static": ratio("static"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packs", type=int, default=32)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in MODELS:
        print(
            json.dumps({"model": name, **measure(name, arguments.packs, arguments.rows, arguments.seconds)})
        )


if __name__ == "__main__":
    main()
