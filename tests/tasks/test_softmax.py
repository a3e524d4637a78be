"""The quick cross-entropy is PyTorch's, in value and gradient."""

import torch
from torch.nn import functional

from toolchain.tasks.softmax import cross_entropy


def test_it_is_the_cross_entropy_of_pytorch() -> None:
    torch.manual_seed(0)
    logits = 10 * torch.randn(20, 50)
    logits[:, :5] = -1e9
    target = torch.randint(5, 50, (20,))
    target[::3] = -1
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss, expected = cross_entropy(ours, target), functional.cross_entropy(theirs, target, ignore_index=-1)
    torch.testing.assert_close(loss, expected)
    (2 * loss).backward()
    (2 * expected).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert not ours.grad[:, :5].any()
    assert not ours.grad[::3].any()


def test_without_any_target_it_is_zero() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((3,), -1))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()
