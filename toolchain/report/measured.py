"""The page of what was measured: the files that `mnet` commands left in some folders, and bundles timed now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnet.export.bench.latency import Bench
from mnet.toolchain.errors import UserError
from mnet.toolchain.report.figures import histograms
from mnet.toolchain.report.frontier import frontier_sections
from mnet.toolchain.report.page import Answer, Card, Page, Section
from mnet.toolchain.report.sections import SECTIONS, bench_section, subject
from mnet.toolchain.training.bootstrap import gain_text
from mnet.toolchain.training.build import BOTH, GENERATED, WORLD
from mnet.toolchain.training.methods import DEFAULT

Benched = tuple[Bench, dict[str, Any]]
"""Raw figures of a bundle, and its `Bench.report`."""


def measured_page(folders: Sequence[Path], benched: Sequence[Benched]) -> Page:
    """The page of these folders and bundles; UserError for a folder in which no command left figures."""
    found = [(name, report, folder) for folder in folders for name, report in _read(folder)]
    sections = [
        _named(SECTIONS[name](report), report, folder if len(folders) > 1 else None)
        for wanted in SECTIONS
        for name, report, folder in found
        if name == wanted
    ]
    evaluations = [report for name, report, _ in found if name == "evaluation.json"]
    evaluation = evaluations[0] if evaluations else None
    kept = [each for name, reports, _ in found if name == "bench.json" for each in reports]
    costs = [*(report for _, report in benched), *kept]
    return Page(
        title=subject(evaluations[0]) if len(evaluations) == 1 else "What was measured",
        lead="A model on the phone that takes new weights for a few of its layers while it runs.",
        answers=[*_gained(evaluations), *_costs(costs)],
        cards=[*_quality_cards(evaluation), *_bench_cards(costs)],
        sections=[
            *sections,
            *frontier_sections(evaluations, [report for _, report in benched]),
            *bench_sections(benched),
        ],
    )


def bench_sections(benched: Sequence[Benched]) -> list[Section]:
    """What the bundles cost: a table with a column for each, and how their inferences spread."""
    if not benched:
        return []
    figures = [inference_figure(bench, f"{r['model']}, {r['target']}: inference, µs") for bench, r in benched]
    return [bench_section([report for _, report in benched], figures)]


def inference_figure(bench: Bench, x: str) -> str:
    """How long inferences took with constant and with swappable weights, as SVG."""
    named = {"constant": bench.baked_s, "swappable": bench.swappable_s}
    return histograms({name: [s * 1e6 for s in seconds] for name, seconds in named.items()}, x=x)


def _named(section: Section, report: Any, folder: Path | None) -> Section:
    """The section with what it is about in its title, where the page is about several things."""
    if folder is None or isinstance(report, list):
        return section
    about = subject(report) if "dataset" in report else folder.name
    return replace(section, title=f"{section.title}: {about}")


def _read(folder: Path) -> list[tuple[str, Any]]:
    files = [folder / name for name in SECTIONS if (folder / name).is_file()]
    if not files:
        raise UserError(f"{folder} is no bundle and holds none of {', '.join(SECTIONS)}")
    return [(file.name, json.loads(file.read_text(encoding="utf-8"))) for file in files]


def _pushed(evaluation: Mapping[str, Any]) -> str | None:
    """The method of an evaluation that a reader should look at: what is pushed to phones; None where nothing is."""
    return next((name for name in (BOTH, WORLD, GENERATED) if name in evaluation["gain"]), None)


def _quality_cards(evaluation: Mapping[str, Any] | None) -> list[Card]:
    if evaluation is None or (pushed := _pushed(evaluation)) is None:
        return []
    metric = next(iter(evaluation["gain"][pushed]))
    gain = evaluation["gain"][pushed][metric]
    value, _, interval = gain_text(gain).partition(" ")
    if gain is not None and gain["low"] <= 0 <= gain["high"]:
        value = "no difference shown"
    over = f"{metric} of {pushed} over {evaluation['equal_cost']}, {subject(evaluation)}"
    return [Card(value, f"{over}; 95 % {interval}")]


def device_cards(report: Mapping[str, Any]) -> list[Card]:
    """What swapping costs an inference, and a swap itself, of a `Bench.report`."""
    return [
        Card(f"{report['inference']['ratio_p50']:.3f}", "inference time, swappable ÷ constant weights"),
        Card(f"{report['swap']['p50_us']:.0f} µs", "a swap: check, self-test, publish"),
    ]


def _gained(evaluations: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """What the pushed weights of each evaluation gain, for people; nothing where none are pushed."""
    answers = []
    for report in evaluations:
        if (pushed := _pushed(report)) is None:
            continue
        metric = next(iter(report["metrics"][pushed]))
        over = f"{report['equal_cost']}, the best that costs the phone no more"
        default = report["gain"].get(DEFAULT, {}).get(metric) if report["equal_cost"] != DEFAULT else None
        of_it = f" The weights that come with the app have {gain_text(default)}." if default else ""
        gain = report["gain"][pushed][metric]
        found = (
            f"{gain_text(gain)} in {metric} over"
            if gain and gain["low"] > 0
            else f"No gain in {metric} is shown over"
        )
        answers.append(Answer(f"What is gained? {subject(report)}", f"{found} {over}.{of_it}"))
    return answers


def cost_text(bench: Mapping[str, Any], push_bytes: int) -> str:
    """What a `Bench.report` says of an inference and of a push, for people."""
    slower = bench["inference"]["ratio_p50"] - 1
    share = push_bytes / bench["baked_program_bytes"]
    return (
        f"A prediction takes {abs(slower):.1%} {'longer' if slower > 0 else 'less time'} than with weights that never "
        f"change. New weights are {push_bytes / 1024:.1f} KiB, {share:.0%} of the model file"
    )


def _costs(benches: Sequence[Mapping[str, Any]]) -> list[Answer]:
    if not benches:
        return []
    report = benches[0]
    return [
        Answer("What does it cost?", f"{cost_text(report, report['push_bytes'])}."),
        Answer(
            "Is it safe?",
            "New weights are taken only after a signature, a hash and a test run on the device's own runtime; "
            "otherwise the last good ones keep serving. No phone took part.",
        ),
    ]


def _bench_cards(benches: Sequence[Mapping[str, Any]]) -> list[Card]:
    if not benches:
        return []
    report = benches[0]
    return [
        *device_cards(report),
        Card(f"{report['push_bytes'] / 1024:.1f} KiB", "one push"),
        Card(
            f"{report['push_bytes'] / report['baked_program_bytes']:.1%}", "of shipping the model file again"
        ),
    ]
