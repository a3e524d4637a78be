"""World packs: one MLP for every item, which starts at changing nothing."""

import torch

from mnet.toolchain.metanetwork import World, WorldGenerator

N_ITEMS = 6


def some_world() -> World:
    torch.manual_seed(0)
    return World(
        torch.rand(2, N_ITEMS, 3),
        torch.tensor([[0.0, 3, -1, 5, 9, 1]] * 2),
        torch.tensor([9.0, 90]),
        torch.tensor([8, 89]),
    )


def test_it_starts_at_the_device_models_own_bias() -> None:
    own = torch.randn(N_ITEMS)
    scale, bias = WorldGenerator((1, 4, 16))(some_world(), own)
    assert (scale == 0).all()
    assert torch.equal(bias, own.expand(2, -1))


def test_items_with_the_same_past_get_the_same() -> None:
    generator, world = WorldGenerator((1, 4, 16)), some_world()
    torch.nn.init.normal_(generator.mlp[2].weight)
    order = torch.randperm(N_ITEMS)
    own = torch.randn(N_ITEMS)
    scale, bias = generator(world, own)
    moved = World(world.counts[:, order], world.age[:, order], world.events, world.until)
    for one, other in zip((scale, bias), generator(moved, own[order]), strict=True):
        torch.testing.assert_close(one[:, order], other)
    assert scale.abs().max() <= 1
    assert not torch.equal(bias[0], bias[1])


def test_every_weight_learns() -> None:
    generator = WorldGenerator((1, 4, 16))
    torch.nn.init.normal_(generator.mlp[2].weight)
    scale, bias = generator(some_world(), torch.randn(N_ITEMS))
    (scale.square().sum() + bias.square().sum()).backward()
    assert all((parameter.grad != 0).any() for parameter in generator.parameters())
