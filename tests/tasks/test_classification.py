"""Images as a device sends them, what the MetaNetwork reads of them, losses and scores."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mnet.device_models.cnn import CNN
from mnet.device_models.micro_cnn import MicroCNN
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks import find_task
from mnet.toolchain.tasks.classification import Classification, ClassificationSettings
from mnet.toolchain.tasks.photos import Photos
from tests.tasks.images import grey_images

MODEL = Part.model_validate({"name": "cnn", "width": 4, "features": 6})
ENCODER = Part.model_validate({"name": "set", "width": 8})
FACTS = {"classes": ["a", "b", "c", "d"], "image_size": [8, 8]}


def make(**settings: object) -> Classification:
    chosen = ClassificationSettings.model_validate(
        {"context": 3, "serves": 2, "training_devices": 6, "validation_devices": 4, "test_devices": 4}
        | settings
    )
    return Classification.create(chosen, FACTS, MODEL, ENCODER)


@pytest.fixture
def task() -> Classification:
    return make()


@pytest.fixture
def network(task: Classification) -> MetaNetwork:
    torch.manual_seed(0)
    model = task.device_model(MODEL)
    model(torch.rand(32, 3, 8, 8))
    network = MetaNetwork(model, CNN.generated, task.context_encoder(ENCODER)).eval()
    for projection in network.generator.projections.parameters():
        nn.init.normal_(projection, std=0.1)
    return network


@pytest.fixture
def batch(task: Classification) -> Photos:
    return next(iter(task.splits(grey_images()).test(4)))


def image(value: int) -> list[int]:
    return [value] * 192


def test_it_is_found_by_its_name() -> None:
    assert find_task("classification") is Classification


def test_the_facts_of_a_data_set_make_the_task() -> None:
    assert Classification.facts(grey_images()) == FACTS
    assert make().features == 16  # of the base, four times the width


def test_uploaded_images_are_padded_on_the_left() -> None:
    context = make(upload="image").context([image(7), image(255)])
    assert (context.dtype, context.shape) == (torch.uint8, (1, 3, 3, 8, 8))
    assert context[0, :, 0, 0, 0].tolist() == [0, 7, 255]


def test_uploaded_embeddings_are_padded_on_the_left_and_the_most_recent_kept(task: Classification) -> None:
    context = task.context([[float(n)] * 20 for n in range(1, 6)])
    assert (context.dtype, context[0, :, 0].tolist()) == (torch.float32, [3.0, 4.0, 5.0])
    assert task.context([])[0].tolist() == [[0.0] * 20] * 3


@pytest.mark.parametrize("sample", [[1] * 191, [256] * 192, [-1] * 192, [0.5] * 192])
def test_what_is_no_image_is_an_error(task: Classification, sample: list[float]) -> None:
    with pytest.raises(ValueError, match="an image is 192 numbers from 0 to 255"):
        make(upload="image").context([image(1), sample])
    with pytest.raises(ValueError, match="an image is 192 numbers"):
        task.device_inputs(sample)


@pytest.mark.parametrize("sample", [[0.1] * 19, [float("nan")] * 20])
def test_what_is_no_embedding_is_an_error(task: Classification, sample: list[float]) -> None:
    with pytest.raises(ValueError, match="a sample is 20 finite numbers: 16 features, then soft predictions"):
        task.context([sample])


def test_either_upload_makes_the_same_weights(network: MetaNetwork, batch: Photos) -> None:
    generated = []
    for upload in ("embedding", "image"):
        task = make(upload=upload)
        samples = task.upload(network.device_model, batch.context[0])
        context = task.prepared(network, task.context(samples))
        generated.append(network.generate(context)["classifier.weight"])
    expected = network.generate_from(make().vectors(network, batch))["classifier.weight"][:1]
    for weights in generated:
        torch.testing.assert_close(weights, expected)
    assert (expected - network.static()["classifier.weight"]).abs().max() > 0.01


def test_a_cloud_that_reads_images_needs_no_base_in_the_device_model(batch: Photos) -> None:
    encoder = Part.model_validate({"name": "images", "width": 8, "channels": 4})
    model = Part.model_validate({"name": "micro", "width": 4})
    settings = ClassificationSettings(context=3, serves=2, upload="image")
    task = Classification.create(settings, FACTS, model, encoder)
    network = MetaNetwork(task.device_model(model), MicroCNN.generated, task.context_encoder(encoder)).eval()
    samples = task.upload(network.device_model, batch.context[0])
    torch.testing.assert_close(
        network.context_encoder(task.prepared(network, task.context(samples))),
        task.vectors(network, batch)[:1],
    )
    assert task.seen(network, batch) is None
    with pytest.raises(UserError, match=r"set task\.upload=image"):
        Classification.create(ClassificationSettings(), FACTS, model, encoder)


def test_images_may_be_averaged_down() -> None:
    task = make(pixels=4, any_sensor=True)
    assert task.image_size == (4, 4)
    assert next(iter(task.splits(grey_images()).test(4))).image.shape == (4, 2, 3, 4, 4)


def test_a_context_with_fewer_images_is_read_as_such(network: MetaNetwork, batch: Photos) -> None:
    task = make(upload="image")
    samples = task.upload(network.device_model, batch.context[0])
    short = task.prepared(network, task.context(samples[1:]))
    torch.testing.assert_close(network.context_encoder(short), network.context_encoder(short[:, 1:]))
    nothing = task.prepared(network, task.context([]))
    assert not network.context_encoder(nothing).any()


def test_no_gradient_goes_through_an_upload(
    network: MetaNetwork, task: Classification, batch: Photos
) -> None:
    task.vectors(network, batch).sum().backward()
    assert all(parameter.grad is None for parameter in network.device_model.parameters())
    assert all(parameter.grad is not None for parameter in network.context_encoder.each.parameters())


def test_each_pack_classifies_with_its_own_weights(
    network: MetaNetwork, task: Classification, batch: Photos
) -> None:
    parameters = network.generate_from(task.vectors(network, batch))
    logits = task.outputs(network.under(parameters), batch)
    assert logits.shape == (8, 4)
    expected = network.call(parameters, batch.image.float() / 255).flatten(0, 1)
    torch.testing.assert_close(logits, expected)


def test_an_exported_model_is_asked_image_by_image_under_its_own_pack(
    task: Classification, network: MetaNetwork, batch: Photos
) -> None:
    packs = network.generate_from(task.vectors(network, batch))

    def run(pack: int, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        row = {name: values[pack] for name, values in packs.items()}
        return [torch.func.functional_call(network.device_model, row, tuple(inputs))]

    expected = task.outputs(network.under(packs), batch)
    torch.testing.assert_close(task.device_outputs(run, batch), expected)


def test_the_loss_of_a_context_is_how_well_it_tells_the_classes(
    network: MetaNetwork, task: Classification, batch: Photos
) -> None:
    vectors = task.vectors(network, batch)
    log_probability = network.context_encoder.scores(vectors).log_softmax(dim=1)
    expected = -torch.stack(
        [log_probability[m, label] for m, own in enumerate(batch.label) for label in own]
    ).mean()
    torch.testing.assert_close(task.context_loss(network, vectors, batch), expected)


def test_a_devices_own_loss_is_the_entropy_of_its_context(task: Classification, batch: Photos) -> None:
    class Sure(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            certainty = torch.where(torch.arange(len(images)) < 3, 100.0, 0.0)  # the images of the first pack
            return torch.eye(4)[0] * certainty[:, None]

    entropy = task.own_loss(Sure(), batch)
    torch.testing.assert_close(
        entropy, torch.tensor([0.0] + [4.0] * 3).clamp(max=1).mul(torch.tensor(4.0).log())
    )


def test_scores_and_owners_go_together(task: Classification, batch: Photos) -> None:
    logits = torch.nn.functional.one_hot(batch.label.flatten(), 4).float()
    logits[0] = -logits[0]
    accuracy = task.scores(logits, batch)["accuracy"]
    assert accuracy.tolist() == [0.0] + [1.0] * 7
    assert task.owners(batch).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert task.devices(batch).tolist() == [0, 1, 2, 3]
    assert float(task.loss(logits, batch)) > 0


class Whole(nn.Module):
    """A model that is not cut into a base and a head."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()


def test_a_model_without_a_base_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="Whole has no method encode"):
        Classification.create(ClassificationSettings(), FACTS, Part(name=f"{__name__}:Whole"), None)
