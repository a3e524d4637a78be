"""The settings of every method by equal numbers of trials on validation, by Optuna (Akiba et al., KDD 2019)."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import optuna
import yaml
from rich.console import Console
from torch import nn

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks import find_task
from mnet.toolchain.training.build import (
    CLOUD,
    DIRECT,
    DISTILLED,
    GENERATED,
    STATIC,
    build_module,
    build_task,
    cloud_training,
    fits,
    generated_names,
    initial_module,
    load_data,
)
from mnet.toolchain.training.config import Config, parse_config
from mnet.toolchain.training.fit import fit
from mnet.toolchain.training.recipe import look_through, start_from
from mnet.toolchain.training.run import load_module, save_modules, write_json
from mnet.toolchain.training.scorers import training_scorer

STUDIES, REPORT, BEST = "tune.db", "tune.json", "best.yaml"
# Sections of the config that hold a method's fit; the static one's is the section itself.
SECTIONS = {
    CLOUD: "cloud.fit",
    DISTILLED: "distillation.fit",
    DIRECT: "direct.fit",
    GENERATED: "metanetwork.fit",
}
SECTIONS[STATIC] = "static"
# Tried as text, the names with commas between: Optuna keeps no lists.
LAYERS = "metanetwork.generated"


def tune(config: Config, out: Path, minutes: float, trials: int | None, console: Console) -> dict[str, Any]:
    """Try settings for each method of the config in turns, so that all get as many trials; leave the best in `out`.

    A round is one trial of each method; a new one starts while `minutes`, counted over all calls, are expected to last
    for it, and there are fewer than `trials`. The first trial of a method is the config as it is. The studies are in
    `tune.db`: rerun to resume. Leaves `best.yaml`, a config, and `tune.json`.

    Returns `metric`, `higher_is_better`, `equal_cost` (the method that gains are over), `seconds`, and `methods`
    {method: {trials, value, first, settings}}. Raises UserError when `out` holds the trials of another config.
    """
    tuning = _Tuning.open(config, out, console)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{(out / STUDIES).resolve()}"
    studies = {
        name: optuna.create_study(
            storage=storage, study_name=name, direction=tuning.direction, load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=5),
        )
        for name in fits(config) if name in SECTIONS
    }  # fmt: skip
    seconds, longest = sum(_seconds(study) for study in studies.values()), 0.0
    while not seconds or (seconds + longest < 60 * minutes and (trials is None or _done(studies) < trials)):
        started = time.perf_counter()
        for name, study in studies.items():
            # A round that was stopped halfway resumes with the methods that have one trial less.
            if len(_finished(study)) <= _done(studies):
                if not study.trials:
                    study.enqueue_trial(tuning.as_it_is(name))
                study.optimize(lambda trial, name=name: tuning.trial(name, trial), n_trials=1)  # type: ignore[misc]
                console.print(f"{name}, trial {len(_finished(study))}: best {study.best_value:.4f}")
        longest = max(longest, time.perf_counter() - started)
        seconds += time.perf_counter() - started
    report = {
        "metric": tuning.metric,
        "higher_is_better": tuning.direction == "maximize",
        "equal_cost": config.equal_cost,
        "seconds": round(seconds, 1),
        "methods": {
            name: {
                "trials": len(_finished(study)),
                "value": study.best_value,
                "first": _finished(study)[0].value,
                "settings": study.best_params,
            }
            for name, study in studies.items()
        },
    }
    write_json(out / REPORT, report)
    best = _merged(config, {name: study.best_params for name, study in studies.items()})
    (out / BEST).write_text(yaml.safe_dump(best.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    return report


def tune_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The table for people: method, trials, value of the first and of the best, its settings."""
    return [
        [
            name,
            str(row["trials"]),
            f"{row['first']:.4f}",
            f"{row['value']:.4f}",
            ", ".join(f"{key}={_short(value)}" for key, value in row["settings"].items()),
        ]
        for name, row in report["methods"].items()
    ]


def verdict(report: Mapping[str, Any]) -> str:
    """Whether generation was better than the device model alone, on validation, in a sentence; none without both."""
    methods = report["methods"]
    if not {STATIC, GENERATED} <= methods.keys():
        return ""
    alone, generated = methods[STATIC]["value"], methods[GENERATED]["value"]
    change = generated / alone - 1 if report["higher_is_better"] else 1 - generated / alone
    values = f"metanetwork {generated:.4f}, static {alone:.4f} on validation ({100 * change:+.1f} %)"
    if change <= 0:
        said = "generation from a device's context is worth nothing here, push no personal packs"
    elif report["equal_cost"] == STATIC:
        said = "generation is ahead; whether that stands on test, mnet evaluate says"
    else:
        said = (
            f"generation is ahead, but gains are over {report['equal_cost']}: mnet evaluate compares with it"
        )
    return f"{values}: {said}"


@dataclass
class _Tuning:
    """One config's data and folder; trains a method with the settings of a trial."""

    config: Config
    out: Path
    console: Console
    data: Any
    facts: dict[str, Any]
    metric: str
    direction: str
    layers: list[str]

    @classmethod
    def open(cls, config: Config, out: Path, console: Console) -> "_Tuning":
        out.mkdir(parents=True, exist_ok=True)
        kept, wanted = out / "config.json", config.model_dump(mode="json")
        if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != wanted:
            raise UserError(f"{out} holds trials of another config; choose another --out, or remove it")
        write_json(kept, wanted)
        data = load_data(config)
        facts = find_task(config.task.name).facts(data)
        task = build_task(config, facts)
        direction = "maximize" if task.higher_is_better else "minimize"
        layers = _first_and_last(config, task.device_model(config.model))
        return cls(config, out, console, data, facts, task.metrics[0], direction, layers)

    def as_it_is(self, name: str) -> dict[str, Any]:
        """The config's own values of what is tried."""
        values = self.config.model_dump(mode="json")
        return {key: _text(_at(values, key)) for key in _space(self.config, name, self.layers)}

    def trial(self, name: str, trial: optuna.Trial) -> float:
        """Fit the method with what the trial proposes; the best of all trials is kept for those that build on it."""
        space = _space(self.config, name, self.layers)
        config = _merged(self.config, {name: {key: suggest(trial, key) for key, suggest in space.items()}})
        task = build_task(cloud_training(config) if name == CLOUD else config, self.facts)
        lightning.seed_everything(config.seed, verbose=False)
        modules = {name: initial_module(name, task, config, self.data)}
        for other in (STATIC, CLOUD):
            if other != name and (best := self.out / f"{other}.safetensors").is_file():
                modules[other] = build_module(other, build_task(config, self.facts), config)
                load_module(best, modules[other])
        if name in (DIRECT, GENERATED):
            if config.metanetwork and config.metanetwork.start == STATIC:
                start_from(modules[STATIC], modules[name])
            if CLOUD in modules:
                look_through(modules[CLOUD], modules[name])
        lightning.seed_everything(config.seed, verbose=False)
        scorer = training_scorer(name, task, config, modules)
        splits = task.splits(self.data, *modules.values())
        folder = self.out / "trials" / f"{name}-{trial.number}"
        value = fit(scorer, splits, fits(config)[name], config.seed, folder).value
        before = [value, *(float(other.value or 0) for other in _finished(trial.study))]
        if value == (max(before) if task.higher_is_better else min(before)):
            save_modules(self.out / f"{name}.safetensors", model=modules[name])
        return value


def _first_and_last(config: Config, device_model: nn.Module) -> list[str]:
    """The first and the last of the layers that are generated; none where there is one layer, or no generation."""
    if not config.metanetwork:
        return []
    layers: dict[str, list[str]] = {}
    for name in generated_names(config, device_model):
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    names = [",".join(of_layer) for of_layer in layers.values()]
    return [names[0], names[-1]] if len(names) > 1 else []


def _space(config: Config, name: str, layers: Sequence[str]) -> dict[str, Callable[[optuna.Trial, str], Any]]:
    """What is tried, by the key of the config: rates around its own, decay, averaging, and of generation its shape and
    whether one of `layers` alone will do.
    """
    own, section = fits(config)[name], SECTIONS[name]
    rate = own.learning_rate
    space: dict[str, Callable[[optuna.Trial, str], Any]] = {
        f"{section}.learning_rate": lambda t, k: t.suggest_float(k, rate / 5, rate * 5, log=True),
        f"{section}.weight_decay": lambda t, k: t.suggest_categorical(
            k, _with(own.weight_decay, 0.0, 0.01, 0.1)
        ),
        f"{section}.averaging": lambda t, k: t.suggest_categorical(k, _with(own.averaging, 0.0, 0.98, 0.995)),
    }
    if name == GENERATED:
        assert config.metanetwork
        settings = config.metanetwork
        space["metanetwork.auxiliary_loss"] = lambda t, k: t.suggest_categorical(
            k, _with(settings.auxiliary_loss, 0.0, 0.3, 1.0)
        )
        space["metanetwork.bound"] = lambda t, k: t.suggest_categorical(
            k, _with(settings.bound, 0.3, 1.0, None)
        )
        if layers:
            every = _text(settings.generated)
            space[LAYERS] = lambda t, k: t.suggest_categorical(k, _with(every, *layers))
        for key in ("width", "averages"):
            if isinstance(value := settings.context.settings.get(key), int):
                space[f"metanetwork.context.{key}"] = lambda t, k, v=value: t.suggest_categorical(  # type: ignore[misc]
                    k, [max(1, v // 2), v, 2 * v]
                )
    return space


def _with(own: Any, *others: Any) -> list[Any]:
    return [own, *(value for value in others if value != own)]


def _merged(config: Config, chosen: Mapping[str, Mapping[str, Any]]) -> Config:
    """The config with the settings of each method in their places."""
    values = config.model_dump(mode="json")
    for settings in chosen.values():
        for key, value in settings.items():
            *parents, last = key.split(".")
            listed = key == LAYERS and value is not None
            _at(values, ".".join(parents))[last] = value.split(",") if listed else value
    return parse_config(values, "the tuned config")


def _text(value: Any) -> Any:
    """A list of names as the text that is tried, anything else as it is."""
    return ",".join(value) if isinstance(value, list | tuple) else value


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]


def _done(studies: Mapping[str, optuna.Study]) -> int:
    """How many trials each method has had."""
    return min(len(_finished(study)) for study in studies.values())


def _seconds(study: optuna.Study) -> float:
    return sum(trial.duration.total_seconds() for trial in _finished(study) if trial.duration)


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
