"""Quality against what it costs the device: one point a method and a device model, one picture a data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnet.toolchain.report.figures import Point, points
from mnet.toolchain.report.page import Section, Table
from mnet.toolchain.training.build import BOTH, CLOUD, GENERATED, STATIC, WORLD
from mnet.toolchain.training.evaluate import figure_text

# Of a data set with fewer device models than this there is nothing to compare.
MODELS = 2
HEADER = ["device model", "method", "bytes of the program", "µs an inference"]


def frontier_sections(
    evaluations: Sequence[Mapping[str, Any]], benches: Sequence[Mapping[str, Any]]
) -> list[Section]:
    """A section for each data set of which two device models or more are both evaluated and timed.

    `evaluations` as of `evaluate`; `benches` as of `Bench.report`, with the `generator` that their bundles name. A
    bundle belongs to the evaluation of the run that it was exported from.
    """
    found: dict[tuple[str, str], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for evaluation in evaluations:
        for bench in benches:
            if bench.get("generator") in evaluation.get("generators", ()):
                found.setdefault((evaluation["dataset"], bench["target"]), []).append((evaluation, bench))
    return [
        _section(dataset, target, pairs) for (dataset, target), pairs in found.items() if len(pairs) >= MODELS
    ]


def _section(
    dataset: str, target: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> Section:
    metric = next(iter(pairs[0][0]["metrics"][STATIC]))
    sizes: dict[str, list[Point]] = {}
    times: dict[str, list[Point]] = {}
    rows = []
    for evaluation, bench in pairs:
        for method, values in evaluation["metrics"].items():
            if method not in (STATIC, evaluation["equal_cost"], GENERATED, WORLD, BOTH):
                continue
            swaps = "swappable" if method in (GENERATED, WORLD, BOTH) else "baked"
            size = bench["program_bytes" if swaps == "swappable" else "baked_program_bytes"]
            time = bench["inference"][f"{swaps}_p50_us"]
            quality, spread = values[metric]["mean"], values[metric]["std"] or 0.0
            label = "equal-cost" if method not in (STATIC, GENERATED, WORLD, BOTH) else method
            sizes.setdefault(label, []).append(Point(size / 1024, quality, spread))
            times.setdefault(label, []).append(Point(time, quality, spread))
            rows.append(
                [evaluation["model"], method, f"{size:,}", f"{time:.1f}", figure_text(values[metric])]
            )
    ceilings = [of["metrics"][CLOUD][metric]["mean"] for of, _ in pairs if CLOUD in of["metrics"]]
    ceiling = max(ceilings, default=None)
    dashed = "" if ceiling is None else " The dashed line is the cloud model, which no phone runs."
    return Section(
        title=f"Quality against cost: {dataset}, {target}",
        text=(
            "Each point is a method on a device model: further up is better, further left is cheaper. Methods without "
            f"pushed weights cost what the program with constant weights does.{dashed}"
        ),
        tables=[Table([*HEADER, metric], rows)],
        figures=[
            points(sizes, x="KiB of the program on the device", y=metric, ceiling=ceiling),
            points(times, x="µs an inference, on this machine", y=metric, ceiling=ceiling),
        ],
        command="mnet report RUN ... BUNDLE ...",
    )
