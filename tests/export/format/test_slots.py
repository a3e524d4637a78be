import torch

from mnet.export.format.slots import occurrences, sentinels


def test_sentinels_are_unique_and_the_same_each_time() -> None:
    shapes = {name: torch.empty(8, 8) for name in ("a.weight", "b.weight")}
    first, again = sentinels(shapes), sentinels(shapes)
    assert not torch.equal(first["a.weight"], first["b.weight"])
    assert all(torch.equal(first[name], again[name]) for name in shapes)
    other = sentinels(shapes, draw=1)
    assert not any(torch.equal(first[name], other[name]) for name in shapes)
    assert torch.cat([value.flatten() for value in first.values()]).unique().numel() == 128


def test_a_sentinel_is_found_as_it_is_and_transposed() -> None:
    sentinel = sentinels({"w": torch.empty(3, 5)})["w"]
    plain, transposed = sentinel.numpy().tobytes(), sentinel.T.contiguous().numpy().tobytes()
    assert occurrences(b"head" + plain + b"middle" + transposed + b"tail", sentinel) == 2
    assert occurrences(plain[:-1] + b"\x01", sentinel) == 0
