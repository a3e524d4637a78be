"""Language modelling on devices: which byte a user writes next, from what the same user wrote before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain import builtin
from mnet.toolchain.data import load_data_set
from mnet.toolchain.data.texts import Texts
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.settings import Part, Strict
from mnet.toolchain.tasks.on_device import Settings
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.tasks.task import Task
from mnet.toolchain.tasks.text_windows import TextBatch, TextSplits, as_bytes
from mnet.toolchain.tasks.timeline import LONGEST, SHORTEST, Question, Timeline

TASKS = {"language": "Language"}

PROMPT = "prompt"


class LanguageSettings(Strict):
    """The `task` section; sizes are bytes of UTF-8."""

    context: int = Field(
        1024, gt=0, description="Bytes of a device's last texts that weights are generated from."
    )
    window: int = Field(64, gt=1, description="Bytes that the device model reads at once.")
    serves: int = Field(8, gt=0, description="Windows that one pack serves.")
    prompt: int = Field(
        192,
        ge=0,
        description="Bytes before the window that the row `prompt` reads too; the model is trained for both.",
    )
    validation: float = Field(0.15, gt=0, lt=0.5, description="Part of the devices to validate on.")
    test: float = Field(0.35, gt=0, lt=0.6, description="Part of the devices to test on.")


class Language(Task[TextBatch]):
    """Next-byte prediction. A sample is a text, as a string; a context is the end of a device's last texts.

    The device model is any module from bytes int64 [B, L], left-padded with 0, to logits of the byte after each.
    """

    input_names: ClassVar[tuple[str, ...]] = ("text",)
    metrics: ClassVar[tuple[str, ...]] = ("bits", "accuracy")
    lower_is_better: ClassVar[tuple[str, ...]] = ("bits",)
    Settings: ClassVar[type[Strict]] = LanguageSettings
    models: ClassVar[Mapping[str, str]] = builtin.models("language")
    encoders: ClassVar[Mapping[str, str]] = {"text": "mnet.toolchain.metanetwork.context_texts:TextContext"}

    def __init__(self, settings: LanguageSettings) -> None:
        self.settings = settings

    @classmethod
    def create(
        cls, settings: LanguageSettings, facts: Mapping[str, Any], model: Part, context: Part | None
    ) -> Self:
        return cls(settings)

    @property
    def sizes(self) -> dict[str, Any]:
        return {"length": self.settings.window + self.settings.prompt}

    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.randint(32, 127, (1, self.settings.window), generator=generator),)

    def context(self, samples: Sequence[Any]) -> Tensor:
        """What a device uploaded -> int64 [1, n], its last bytes, left-padded with 0."""
        if not all(isinstance(text, str) and text and "\0" not in text for text in samples):
            raise ValueError("a sample is a text: a string that is not empty, without NUL")
        try:
            # Of no text more than its end counts, and it has as many bytes as characters, or more.
            written = as_bytes([text[-self.settings.context :] for text in samples])
        except UnicodeEncodeError:
            raise ValueError("a sample is no text: it holds half of a surrogate pair") from None
        return _last(written, self.settings.context)

    @classmethod
    def load(cls, name: str, path: Path | None, **settings: Any) -> Texts:
        data = load_data_set(name, path, **settings)
        if not isinstance(data, Texts):
            raise UserError(f"{name} is no set of texts, which task language needs")
        return data

    def splits(self, data: Texts, *models: nn.Module) -> TextSplits:
        chosen = self.settings
        held_back = chosen.validation, chosen.test
        return TextSplits(data, chosen.context, chosen.window, chosen.serves, chosen.prompt, held_back)

    def outputs(self, model: nn.Module, batch: TextBatch) -> Tensor:
        """fp32 [M * k * W, 256]: the byte after each of the windows'."""
        logits: Tensor = model(batch.text[..., :-1].flatten(0, 1))
        return logits.flatten(0, 1)

    def device_outputs(
        self, run: Callable[[int, Sequence[Tensor]], Sequence[Tensor]], batch: TextBatch
    ) -> Tensor:
        return torch.cat(
            [
                run(pack, [text[None, :-1].contiguous()])[0][0]
                for pack, texts in enumerate(batch.text)
                for text in texts
            ]
        )

    def targets(self, batch: TextBatch) -> Tensor:
        return batch.text[..., 1:].flatten()

    def context_loss(self, network: MetaNetwork, vectors: Tensor, batch: TextBatch) -> Tensor:
        """How badly the vector by itself predicts which bytes the device writes."""
        own = network.context_encoder.scores(vectors).log_softmax(dim=-1)
        return -own.gather(1, batch.text[..., 1:].flatten(1)).mean()

    def own_loss(self, model: nn.Module, batch: TextBatch) -> Tensor:
        """Cross-entropy of the context itself, window by window: here labels are free."""
        window = self.settings.window
        pieces = (batch.context.shape[1] - 1) // window
        if not pieces:
            raise UserError(f"task.context: fine-tuning needs more than the {window} bytes of task.window")
        own = batch.context[:, -(pieces * window + 1) :].unfold(1, window + 1, window)
        logits = model(own[..., :-1].flatten(0, 1))
        losses = functional.cross_entropy(
            logits.flatten(0, 1), own[..., 1:].flatten(), ignore_index=0, reduction="none"
        )
        written = (own[..., 1:] != 0).flatten(1).sum(1)
        return losses.view(len(own), -1).sum(1) / written.clamp(min=1)

    def on_device(self, steps: Sequence[str]) -> "Prompt":
        if list(steps) != [PROMPT] or not self.settings.prompt:
            raise UserError(f"on_device: task language knows {PROMPT} alone, with task.prompt above 0")
        return Prompt(self.settings.prompt)

    def scores(self, logits: Tensor, batch: TextBatch) -> dict[str, Tensor]:
        targets = self.targets(batch)
        bits = functional.cross_entropy(logits, targets, reduction="none") / log(2)
        return {"bits": bits, "accuracy": (logits.argmax(dim=1) == targets).float()}

    @property
    def refresh(self) -> int:
        return self.settings.serves

    @property
    def questions(self) -> str:
        return "the end of each text"

    def timelines(self, data: Texts) -> list[Timeline]:
        """Of each test device: its first texts fill a context, up to 60 after them are predicted, each at its end."""
        splits, found = self.splits(data), []
        for device in splits.tested.tolist():
            texts = data.texts[device]
            sizes = np.cumsum([len(as_bytes([text])) for text in texts])
            begins = int(np.searchsorted(sizes, splits.before)) + 1
            if len(texts) - begins >= SHORTEST:
                found.append(Timeline(device, texts[: begins + LONGEST], begins, begins))
        return found

    def uploaded(self, samples: Sequence[Any]) -> list[Any]:
        """The last texts, as many as fill a context."""
        sizes = np.cumsum([len(text.encode()) + 1 for text in reversed(samples)])
        return list(samples[-(int(np.searchsorted(sizes, self.settings.context)) + 1) :])

    def example_samples(self, count: int, rng: np.random.Generator) -> list[Any]:
        letters = np.array(list("etaoin shrdlu"))
        return ["".join(rng.choice(letters, 40)) + "." for _ in range(count)]

    def question(self, timeline: Timeline, turn: int) -> Question:
        """The last window of what the device has written, up to the end of this text."""
        written = as_bytes(list(timeline.items[: timeline.start + turn + 1]))
        text = _last(written, self.settings.window + 1)[None]
        nothing = torch.zeros(1, 0, dtype=torch.int64)
        batch = TextBatch(nothing, nothing[None], text, torch.tensor([timeline.user]))
        return Question(
            (text[0, :, :-1],), lambda outputs: float(self.scores(outputs[0][0], batch)["bits"].mean())
        )


class Prompt:
    """A longer window: the model reads the bytes before it too, at what that costs a device in time."""

    def __init__(self, longest: int) -> None:
        self.steps: tuple[str, ...] = (PROMPT,)
        self.by_cloud = False
        self.longest = longest

    @property
    def start(self) -> Settings:
        """All that the model was trained for."""
        return {"bytes": self.longest}

    def around(self, step: str, settings: Settings) -> list[Settings]:
        """A third of it, two thirds, and all."""
        sizes = sorted({max(1, self.longest * part // 3) for part in (1, 2, 3)})
        return [{"bytes": size} for size in sizes]

    def source(self, model: nn.Module, splits: Splits[Any], cloud: nn.Module | None = None) -> None:
        """Nothing of the training data is needed."""

    def outputs(
        self, model: nn.Module, source: Any, batch: TextBatch, trials: Sequence[Settings]
    ) -> Iterator[Tensor]:
        """As `Language.outputs`, once for each of the settings."""
        for settings in trials:
            before = batch.prompt[..., batch.prompt.shape[-1] - settings["bytes"] :]
            logits = model(torch.cat([before, batch.text[..., :-1]], dim=-1).flatten(0, 1))
            yield logits[:, settings["bytes"] :].flatten(0, 1)


def _last(written: np.ndarray[Any, np.dtype[np.uint8]], count: int) -> Tensor:
    """The last `count` bytes -> int64 [1, count], left-padded with 0."""
    kept = written[max(0, len(written) - count) :]
    row = torch.zeros(1, count, dtype=torch.int64)
    row[0, count - len(kept) :] = torch.from_numpy(kept.astype(np.int64))
    return row
