"""The bound on memory that is said before a run starts."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from mnet.toolchain.data import Interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.ranking_memory import ranking_bytes
from mnet.toolchain.tasks.recommendation_settings import RecommendationSettings
from mnet.toolchain.training.build import build_task, initial_module
from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.memory import ALONE, check_memory, memory_bounds

GIB = 2**30


def interactions(n_items: int, count: int = 1000) -> Interactions:
    rows = np.arange(count, dtype=np.int64)
    return Interactions("made up", 1 + rows % n_items, rows, np.array([0, count // 2, count]), n_items)


@pytest.mark.parametrize(
    ("n_items", "settings", "world", "most"),
    [
        (100_000, {}, False, 2.5),
        (1_000_000, {}, False, 2.5),
        (1_000_000, {"negatives": None}, False, 80.0),
        (1_000_000, {}, True, 15.0),
    ],
)
def test_a_catalogue_is_bounded_by_negatives_and_by_chunks(
    n_items: int, settings: dict[str, Any], world: bool, most: float
) -> None:
    given = RecommendationSettings.model_validate(settings)
    bytes_ = ranking_bytes(interactions(n_items), given, 100, 32, world)
    assert most / 3 < max(bytes_.training, bytes_.evaluation) / GIB < most


def test_a_run_says_its_bound_and_is_refused_where_the_machine_has_less() -> None:
    values = {
        "task": {"name": "recommendation", "negatives": None},
        "data": {"name": "table"},
        "model": {"name": "moving-averages", "width": 8, "history": 10},
        "static": {"steps": 1},
    }
    config, data = parse_config(values, "a test"), interactions(2000)
    task = build_task(config, {"n_items": 2000})
    modules: dict[str, nn.Module] = {"static": initial_module("static", task, config, data)}
    bounds = memory_bounds(task, config, data, modules)
    assert bounds.keys() == {"static", "evaluation"}
    assert all(ALONE < bound < 2 * GIB for bound in bounds.values())
    said = io.StringIO()
    check_memory(bounds, Console(file=said))
    assert said.getvalue().startswith("memory: at most ")
    with pytest.raises(
        UserError, match=r"static would take up to 102400\.0 GiB of memory, .*: set task\.negatives"
    ):
        check_memory(bounds | {"static": 100 * 2**40}, Console(quiet=True))
