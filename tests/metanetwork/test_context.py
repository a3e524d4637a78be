"""The context encoder: causal, blind to padding, sensitive to order and to old items."""

import pytest
import torch
from torch import Tensor

from toolchain.metanetwork import ItemContextEncoder

LENGTH = 8


@pytest.fixture
def encoder() -> ItemContextEncoder:
    torch.manual_seed(0)
    return ItemContextEncoder(n_items=20, width=16, length=LENGTH, averages=4).eval()


def padded(*items: int) -> Tensor:
    return torch.tensor([[0] * (LENGTH - len(items)) + list(items)])


def test_every_cut_of_a_sequence_has_the_vector_of_the_context_that_ends_there(
    encoder: ItemContextEncoder,
) -> None:
    items = [3, 9, 9, 1, 17, 20, 4, 2]
    vectors = encoder.at_every_item(padded(*items))
    for cut in range(1, LENGTH + 1):
        torch.testing.assert_close(vectors[:, cut - 1], encoder(padded(*items[:cut])))


def test_an_empty_context_is_the_zero_vector(encoder: ItemContextEncoder) -> None:
    assert torch.equal(encoder(padded()), torch.zeros(1, 16))


def test_old_items_and_their_order_count(encoder: ItemContextEncoder) -> None:
    vectors = [encoder(padded(*items)) for items in ([1, 2, 3, 4], [2, 1, 3, 4], [5, 2, 3, 4])]
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    assert (vectors[0] - vectors[2]).abs().max() > 1e-3


def test_averages_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of averages 5"):
        ItemContextEncoder(n_items=20, width=16, length=LENGTH, averages=5)
