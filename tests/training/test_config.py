"""Configs: every packaged one is valid, every mistake is one clear line."""

from pathlib import Path

import pytest

from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import FitConfig, builtin_configs, load_config

MINIMAL = """\
data: {name: synthetic-drift}
model: {name: sasrec, width: 8, blocks: 1, history: 5}
static: {epochs: 1}
"""


@pytest.mark.parametrize("name", builtin_configs())
def test_every_built_in_config_is_valid_and_named_after_its_place(name: str) -> None:
    assert name.startswith(load_config(name).name)


def test_overrides_reach_into_sections() -> None:
    config = load_config(
        "movielens-100k/sasrec",
        ["static.epochs=3", "metanetwork.fit.learning_rate=1e-4", "task.protocol=leave-one-out"],
    )
    assert config.static.epochs == 3
    assert config.metanetwork is not None
    assert config.metanetwork.fit.learning_rate == 1e-4
    assert config.task.settings["protocol"] == "leave-one-out"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINIMAL)
    config = load_config(str(file), ["data.path=/some/where"])
    assert config.metanetwork is None
    assert config.data.path == Path("/some/where")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "static.epoch=3",
            r"static.epoch: unknown key \(did you mean epochs\?\); known are steps, epochs",
        ),
        ("static.epochs=many", "static.epochs: Input should be a valid integer"),
        ("static.epochs=0", "static.epochs: Input should be greater than 0"),
        ("task.protocol=holdout", "task.protocol: Input should be 'rolling' or 'leave-one-out'"),
        ("task.name=chess", "no task 'chess'; take .*recommendation, or one of your own"),
        ("task.rolling.train=0.95", "task.rolling: .*leave nothing to test on"),
        ("distillation.fit.epochs=1", "distillation: there is no cloud model to learn from"),
        ("seed", "expected key=value"),
        ("static..epochs=3", "expected key=value"),
        ("seed.of=1", "seed is a value, not a section"),
        ("seed=[1", "is not a YAML value"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_config("synthetic-drift/sasrec", ["seed=1", override])
    assert "\n" not in str(error.value)


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINIMAL + "sed: 1\nseed: -1\n")
    with pytest.raises(UserError, match=r"mine\.yaml: .*sed.*"):
        load_config(str(file))
    with pytest.raises(UserError, match=r"seed: Input should be"):
        load_config(str(file))


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "is not YAML"), ("- 1", "expected a mapping"), ("", "expected a mapping")]
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        load_config(str(file))


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(
        UserError, match=r"give a YAML file or one of .*movielens-100k/sasrec, .*synthetic-drift/sasrec"
    ):
        load_config("movielens/sasrec")


@pytest.mark.parametrize(
    ("length", "batches", "expected"),
    [
        ({"epochs": 7}, 10, (7, 1)),
        ({"steps": 100}, 30, (4, 1)),
        ({"steps": 100}, 1000, (1, 1)),
        ({"steps": 3000}, 5, (600, 15)),
        ({"steps": 455}, 5, (92, 2)),
        ({}, 50, (60, 1)),
    ],
)
def test_steps_are_whole_epochs_that_end_with_a_validation(
    length: dict[str, int], batches: int, expected: tuple[int, int]
) -> None:
    epochs, every = FitConfig.model_validate(length).epochs_of(batches)
    assert (epochs, every) == expected
    assert epochs % every == 0


def test_a_fit_has_one_length(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINIMAL.replace("epochs: 1", "epochs: 1, steps: 5"))
    with pytest.raises(UserError, match="steps and epochs both say how long"):
        load_config(str(file))
    file.write_text(MINIMAL)
    static = load_config(str(file), ["static.steps=5"]).static
    assert (static.steps, static.epochs) == (5, None), "an override takes the place of the other length"
    assert load_config("movielens-100k/gru4rec", ["static.epochs=2"]).static.steps is None
