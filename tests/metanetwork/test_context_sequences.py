"""Context encoders for sequences: causal, blind to padding, sensitive to order and to old items."""

import pytest
import torch
from torch import Tensor

from mnet.toolchain.metanetwork import (
    SEQUENCE_ENCODERS,
    ItemContextEncoder,
    MovingAverages,
    SelfAttentionContext,
)

LENGTH = 8


@pytest.fixture(params=SEQUENCE_ENCODERS)
def encoder(request: pytest.FixtureRequest) -> ItemContextEncoder:
    torch.manual_seed(0)
    encoder = SEQUENCE_ENCODERS[request.param](20, 16, LENGTH).eval()  # type: ignore[call-arg]
    if isinstance(encoder, SelfAttentionContext):
        # As trained: at first every distance counts the same.
        for attention in encoder.attention:
            torch.nn.init.normal_(attention.distance)
    return encoder


def padded(*items: int) -> Tensor:
    return torch.tensor([[0] * (LENGTH - len(items)) + list(items)])


def test_every_cut_of_a_sequence_has_the_vector_of_the_context_that_ends_there(
    encoder: ItemContextEncoder,
) -> None:
    items = [3, 9, 9, 1, 17, 20, 4, 2]
    vectors = encoder.at_every_item(padded(*items))
    torch.testing.assert_close(encoder.at_every_item(padded(*items), last=3), vectors[:, -3:])
    for cut in range(1, LENGTH + 1):
        torch.testing.assert_close(vectors[:, cut - 1], encoder(padded(*items[:cut])))


def test_cuts_alone_have_the_vectors_that_they_have_among_all(encoder: ItemContextEncoder) -> None:
    contexts = torch.cat([padded(3, 9, 1), padded(*range(1, 9))])
    row, cut = torch.tensor([1, 0, 1, 0]), torch.tensor([3, 7, 7, 2])
    vectors = encoder.at_every_item(contexts)[row, cut]
    torch.testing.assert_close(encoder.at_cuts(contexts, row, cut), vectors)


def test_candidates_get_the_scores_that_they_have_among_all_items(encoder: ItemContextEncoder) -> None:
    vectors = torch.randn(2, 16)
    every = encoder.scores(vectors)
    torch.testing.assert_close(encoder.scores(vectors, torch.tensor([7, 1, 7])), every[:, [6, 0, 6]])
    candidates = torch.tensor([[20, 3], [1, 2]])
    torch.testing.assert_close(encoder.scores(vectors, candidates), every.gather(1, candidates - 1))


def test_an_empty_context_is_the_zero_vector_and_disturbs_no_other(encoder: ItemContextEncoder) -> None:
    vectors = encoder(torch.cat([padded(), padded(1, 2, 3)]))
    assert torch.equal(vectors[0], torch.zeros(16))
    torch.testing.assert_close(vectors[1:], encoder(padded(1, 2, 3)))


def test_old_items_and_their_order_count(encoder: ItemContextEncoder) -> None:
    vectors = [encoder(padded(*items)) for items in ([1, 2, 3, 4], [2, 1, 3, 4], [5, 2, 3, 4])]
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    assert (vectors[0] - vectors[2]).abs().max() > 1e-3


def test_every_weight_gets_a_gradient_also_beside_an_empty_context(encoder: ItemContextEncoder) -> None:
    contexts = torch.cat([padded(), padded(*range(1, 5)), padded(*range(5, 13))])
    encoder.scores(encoder(contexts)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_parts_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of averages 5"):
        MovingAverages(n_items=20, width=16, length=LENGTH, averages=5)
    with pytest.raises(ValueError, match="width 16 is not a multiple of heads 3"):
        SelfAttentionContext(n_items=20, width=16, length=LENGTH, heads=3)
