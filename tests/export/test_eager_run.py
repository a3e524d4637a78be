"""Golden weights: every generated parameter can be seen under them, also where layers multiply each other."""

import torch

from mnet.device_models.micro_cnn import MicroCNN, MicroCNNConfig
from mnet.export.eager_run import run_eager
from mnet.export.format.golden import HALF_TOLERANCE, LEAST_CHANGE
from mnet.export.format.probe import distance
from mnet.export.lowering.spec import ExportSpec


def test_a_bias_is_seen_behind_ten_layers_that_are_too_faint_in_fp16() -> None:
    """All ten grew by what each of them lacked, until nothing but their product was left of the outputs."""
    torch.manual_seed(0)
    model = MicroCNN(MicroCNNConfig(n_classes=10)).eval()
    spec = ExportSpec(
        "micro", model, model.generated, ((torch.rand(1, 3, 16, 16),),), ("image",), ("logits",)
    )
    default = {name: model.get_parameter(name).detach() for name in model.generated}
    run = run_eager(spec, default, dict.fromkeys(default, "float16"), HALF_TOLERANCE)
    whole = run.swaps["golden"].tolist()
    changes = [distance(values, whole) for values in run.swaps["alone"].tolist()]
    assert min(changes) >= LEAST_CHANGE * HALF_TOLERANCE
    assert max(run.scales) < 10, "and no output is beyond what fp16 holds"
