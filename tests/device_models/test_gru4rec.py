"""GRU4Rec: its recurrence is torch's, and padding leaves no trace in the state."""

import torch
from torch import nn

from mnet.device_models.gru4rec import GRU4RecConfig, RecurrentItemEncoder

CONFIG = GRU4RecConfig(n_items=50, width=16, history=6, dropout=0.0)


def reference(encoder: RecurrentItemEncoder) -> nn.GRU:
    gru = nn.GRU(CONFIG.width, CONFIG.width, batch_first=True)
    with torch.no_grad():
        gru.weight_ih_l0.copy_(encoder.input_gates.weight)
        gru.bias_ih_l0.copy_(encoder.input_gates.bias)
        gru.weight_hh_l0.copy_(encoder.state_gates.weight)
        gru.bias_hh_l0.copy_(encoder.state_gates.bias)
    return gru


def test_it_is_the_gru_of_torch() -> None:
    torch.manual_seed(0)
    encoder = RecurrentItemEncoder(CONFIG)
    items = torch.randint(1, 51, (4, CONFIG.history))
    expected, _ = reference(encoder)(encoder.item_embedding(items) * CONFIG.width**0.5)
    torch.testing.assert_close(encoder(items), expected)


def test_a_padded_history_is_a_short_one() -> None:
    torch.manual_seed(0)
    encoder = RecurrentItemEncoder(CONFIG)
    short, padded = torch.tensor([[3, 4]]), torch.tensor([[0, 0, 0, 0, 3, 4]])
    expected, _ = reference(encoder)(encoder.item_embedding(short) * CONFIG.width**0.5)
    states = encoder(padded)
    torch.testing.assert_close(states[:, -2:], expected)
    assert (states[:, :-2] == 0).all()
