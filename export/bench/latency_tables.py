"""What `mnet.export.bench.latency` measured, for people: rows of a table, and a plot."""

import statistics
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mnet.export.bench.latency import Bench
from mnet.export.bench.pictures import colours, picture
from mnet.export.format.bundle import Bundle
from mnet.export.session import SwapTimes

# The link by which transfers are counted where times to effect include them.
LINK_MBIT_S = 10


def bench_table(reports: Sequence[dict[str, Any]], between: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with a column for each report, its parts joined by `between`."""
    header = [
        between.join((report["model"], report["target"], report["runtime"], _threads(report["threads"])))
        for report in reports
    ]
    columns = [dict(bench_rows(report)) for report in reports]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return ["", *header], [
        [name, *(column.get(name, "not measured") for column in columns)] for name in names
    ]


def bench_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a report holds, for people: the name of each figure and its value; what was not timed has no row."""
    inference, swap, effect = report["inference"], report["swap"], report["time_to_effect"]
    parts = (f"{swap['parts'][f'{part.name}_p50_us']:.0f}" for part in fields(SwapTimes))
    started = report["load"]["check_files_p50_us"] + report["load"]["load_and_self_test_p50_us"]
    rows = [
        ("generated parameters", f"{report['generated_bytes']:,} bytes"),
        ("kept on the device", f"{report['bundle_bytes']:,} bytes"),
        ("inference, constant weights: p50 | p90 | p99", f"{_joined(inference['baked'])} µs"),
        ("inference, swappable weights", f"{_joined(inference['swappable'])} µs"),
        ("ratio of the p50", f"{inference['ratio_p50']:.3f}"),
        ("control: constant weights, loaded twice", f"{inference['control_ratio_p50']:.3f}"),
        (f"swap, {swap['count']} times: p50 | p90 | p99", f"{_joined(swap)} µs"),
        ("its verify + write + self-test + publish", f"{' + '.join(parts)} µs"),
        ("load: check files, load, self-test", f"{started / 1000:.1f} ms"),
        ("first inference after that", f"{report['load']['next_inference_p50_us']:.0f} µs"),
        ("one push", f"{report['push_bytes']:,} bytes"),
        ("of the whole model's bytes", f"{report['push_bytes'] / report['baked_program_bytes']:.1%}"),
        ("time to effect: swap, then an inference", f"{effect['swap_p50_us']:,.0f} µs"),
        (
            "instead: the whole model, loaded",
            ", ".join(
                filter(None, (f"{report['baked_program_bytes']:,} bytes", _times(effect, "whole_model")))
            ),
        ),
        *(
            [("instead: the push, all programs loaded again", again)]
            if (again := _times(effect, "reload"))
            else []
        ),
        (f"over {LINK_MBIT_S} Mbit/s: the push | the whole model", _over_link(report)),
        *_resident(report["memory"]),
    ]
    if tuning := report.get("fine_tuning"):
        spent = tuning["devices"]["1"]["fine_tuning_ms"]
        rows.append(
            (f"instead: {tuning['steps']} steps of fine-tuning, in PyTorch", f"{spent:.0f} ms a user")
        )
    return [
        *rows,
        ("largest error against eager PyTorch, of the outputs' size", f"{report['max_error']:.1e}"),
        ("least change of the outputs by a swap", f"{report['output_change']:.1e}"),
    ]


def plot_benches(benches: Sequence[Bench], bundles: Sequence[Bundle], path: Path) -> None:
    """Draw into a PNG file which share of the inferences, and of the swaps, is done within which time."""
    with picture(path, 2, len(benches), size=(10, 0.4 + 3.2 * len(benches))) as panels:
        for bench, bundle, (inference, swap) in zip(benches, bundles, panels, strict=True):
            calls = {
                "constant": bench.baked_s,
                "constant again": bench.control_s,
                "swappable": bench.swappable_s,
            }
            shades = colours(calls)
            for label, seconds in calls.items():
                inference.ecdf(
                    [second * 1e6 for second in seconds], label=label, color=shades[label], linewidth=2
                )
            typical = statistics.median(bench.swappable_s) * 1e6
            inference.set(ylabel="share of calls", xlabel="inference, µs", xlim=(typical / 2, typical * 2))
            inference.set_title(f"{bundle.manifest.model.name}, {bundle.manifest.target}")
            inference.legend()
            swap.ecdf([each.total * 1e6 for each in bench.swaps], color=shades["swappable"], linewidth=2)
            swap.set(ylabel="share of swaps", xlabel="swap: check, self-test, publish; µs", xscale="log")


def _joined(percentiles: dict[str, float]) -> str:
    return " | ".join(f"{percentiles[f'p{percent}_us']:.0f}" for percent in (50, 90, 99))


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _times(effect: dict[str, float], way: str) -> str:
    spent = effect.get(f"{way}_p50_us")
    return "" if spent is None else f"{spent:,.0f} µs ({spent / effect['swap_p50_us']:.1f} times the swap)"


def _over_link(report: dict[str, Any]) -> str:
    effect = report["time_to_effect"]
    swap, whole = (
        effect[f"{way}_p50_us"] / 1e3 + report[sent] * 8 / LINK_MBIT_S / 1e3
        for way, sent in (("swap", "push_bytes"), ("whole_model", "baked_program_bytes"))
    )
    return f"{swap:.1f} | {whole:.1f} ms ({whole / swap:.1f} times)"


def _resident(memory: dict[str, int] | None) -> list[tuple[str, str]]:
    """Memory of instances; nothing where it was not measured."""
    if not memory:
        return []
    rows = {
        "resident: first instance | its peak while swapping": ("first_instance", "peak"),
        "resident: one more instance | of constant weights": ("further_instance", "constant_instance"),
    }
    return [
        (name, " | ".join(f"{memory[part] / 1e6:.2f}" for part in parts) + " MB")
        for name, parts in rows.items()
    ]
