"""Samples and contexts as a device sends them, and the loss."""

import pytest
import torch

from mnet.toolchain.tasks.recommendation import Recommendation
from mnet.toolchain.tasks.windows import PackWindows

TASK = Recommendation(n_items=20, history=3, context_length=5, candidates=4)


def test_a_context_is_padded_on_the_left_and_keeps_the_most_recent() -> None:
    assert TASK.context([4, 5]).tolist() == [[0, 0, 0, 4, 5]]
    assert TASK.context([1, 2, 3, 4, 5, 6, 7]).tolist() == [[3, 4, 5, 6, 7]]
    assert TASK.context([]).tolist() == [[0] * 5]
    assert TASK.context([1]).dtype == torch.int64


@pytest.mark.parametrize("item", [0, -1, 21])
def test_an_unknown_item_is_an_error(item: int) -> None:
    with pytest.raises(ValueError, match=rf"unknown item id {item}; the catalogue is 1\.\.20"):
        TASK.context([3, item])
    with pytest.raises(ValueError, match="unknown item id"):
        TASK.device_inputs([3], [1, 2, 3, item])


def test_device_inputs_have_the_shapes_that_were_exported() -> None:
    history, candidates = TASK.device_inputs([9, 8, 7, 6], [1, 2, 3, 4])
    assert (history.tolist(), candidates.tolist()) == ([[8, 7, 6]], [[1, 2, 3, 4]])
    with pytest.raises(ValueError, match="3 candidates, the device model scores 4"):
        TASK.device_inputs([9], [1, 2, 3])


def test_example_inputs_are_valid_and_follow_from_the_generator() -> None:
    draws = [[TASK.example_inputs(g) for _ in range(20)] for g in (torch.Generator(), torch.Generator())]
    for (history, candidates), (again, candidates_again) in zip(*draws, strict=True):
        assert torch.equal(history, again)
        assert torch.equal(candidates, candidates_again)
        assert history.shape == (1, 3)
        assert history[0, -1] > 0
        assert len(set(candidates[0].tolist())) == 4
    assert len({tuple(history[0].tolist()) for history, _ in draws[0]}) > 10


def test_the_loss_is_the_log_probability_of_the_targets_that_exist() -> None:
    logits = torch.randn(6, 20)
    target = torch.tensor([[4, 0, 1], [0, 20, 0]])
    nothing = torch.zeros(0)
    batch = PackWindows(nothing, nothing, nothing, nothing, nothing, target, nothing, nothing, nothing)
    probability = logits.softmax(dim=1)
    wanted = -torch.stack([probability[0, 3], probability[2, 0], probability[4, 19]]).log().mean()
    torch.testing.assert_close(TASK.loss(logits, batch), wanted)
