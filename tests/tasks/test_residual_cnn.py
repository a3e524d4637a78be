"""The cloud's classifier: it moves images in training alone, by whole pixels."""

import torch

from mnet.toolchain.tasks.residual_cnn import SHIFT, ResidualCNN, ResidualCNNConfig, _moved


def test_it_classifies_images_of_any_size_and_answers_alike_outside_training() -> None:
    torch.manual_seed(0)
    model = ResidualCNN(ResidualCNNConfig(n_classes=5, width=2)).eval()
    for size in (16, 32):
        image = torch.rand(3, 3, size, size)
        assert model(image).shape == (3, 5)
        assert torch.equal(model(image), model(image))
    assert not torch.equal(model.train()(image), model(image))


def test_training_moves_each_image_by_pixels_of_its_own() -> None:
    image = torch.rand(40, 3, 16, 16)
    torch.manual_seed(0)
    moved, found = _moved(image), set()
    inner = slice(SHIFT, -SHIFT)
    for before, after in zip(image, moved, strict=True):
        places = [
            (down, right)
            for down in range(2 * SHIFT + 1)
            for right in range(2 * SHIFT + 1)
            if torch.equal(
                before[:, inner, inner], after.roll((down - SHIFT, right - SHIFT), (1, 2))[:, inner, inner]
            )
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 20
