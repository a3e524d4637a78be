"""The page of the demo: what swapping gains, what it costs, and how it was measured."""

from typing import Any

from mnet.export.bench.latency import Bench
from mnet.export.bench.latency_tables import bench_rows
from mnet.toolchain.demo.findings import Findings
from mnet.toolchain.report.figures import Line, histograms, lines
from mnet.toolchain.report.measured import cost_text, device_cards, inference_figure
from mnet.toolchain.report.page import Answer, Card, Page, Section, Table
from mnet.toolchain.training.bootstrap import gain_text

NAMES = {
    "static": "static model",
    "default": "default pack",
    "first": "first push kept",
    "live": "newest push",
}
STRETCH = 5


def demo_page(report: dict[str, Any], bench: Bench | None, findings: Findings | None) -> Page:
    """The report page of one demo; `report` is what `report.json` holds. What was not reached is None."""
    lead = f"{report['model']} on {report['dataset']}."
    if findings:
        lead = (
            f"{report['model']} on {report['dataset']}: {report['devices']} host phones on the real "
            "ExecuTorch runtime uploaded what their users did lately, and hot-swapped the weights that the "
            "cloud generated."
        )
    return Page(
        title=_headline(report) if findings else "An unfinished demo",
        lead=f"{lead} {report['note']}".strip(),
        answers=_answers(report) if findings else (),
        cards=_cards(report) if findings else (),
        sections=[
            *([_quality(findings, report)] if findings else []),
            *([_inference(bench, report)] if bench else []),
            *([_push(findings, report)] if findings else []),
            _method(report),
        ],
    )


def _claims(report: dict[str, Any]) -> bool:
    """Whether the run was long enough, and its phones enough, to say anything of a gain."""
    return not report["quick"] and report["devices"] > 1


def _headline(report: dict[str, Any]) -> str:
    """What the figures say, and no more: a gain is one only where its interval lies above zero."""
    if not _claims(report):
        return "The whole loop runs on this machine"
    phase, quality = list(report["quality"].items())[-1]
    gain = quality["gain"]
    if gain is not None and gain["low"] > 0:
        return "The model follows its user"
    return f"{report['devices']} phones show no gain {phase}"


def _answers(report: dict[str, Any]) -> list[Answer]:
    """What was gained, what it costs, whether it is safe, in plain words."""
    bench, push = report["bench"], report["push"]
    return [
        Answer("What was gained?", " ".join(_gained(report))),
        Answer(
            "What does it cost?",
            f"{cost_text(bench, push['payload_bytes'])}; the phone uses them "
            f"{push['upload_to_swap_ms']['p50']:.0f} ms after it asked, on this machine.",
        ),
        Answer(
            "Is it safe?",
            f"{push['count']:,} updates were taken, each after its signature, its hash and a test run on the phone's "
            f"own runtime had passed; {push['refused']:,} were refused. A phone that refuses one keeps its last good "
            "weights. No real phone took part.",
        ),
    ]


def _gained(report: dict[str, Any]) -> list[str]:
    if not _claims(report):
        few = "the run was too short" if report["quick"] else "one phone is too few"
        return [f"Nothing is claimed: {few}. It shows that every step works."]
    sentences = []
    for phase, quality in report["quality"].items():
        gain, default = quality["gain"], quality.get("gain_of_default")
        if gain is None or gain["low"] <= 0:
            sentences.append(f"{phase.capitalize()}: no gain over the same model without updates is shown.")
            continue
        alone = f"; what comes with the app alone has {default['relative']:+.0%}" if default else ""
        sentences.append(
            f"{phase.capitalize()}: {gain['relative']:+.0%} in {report['metric'].upper()} over the same model without "
            f"updates (between {gain['low']:+.0%} and {gain['high']:+.0%}){alone}."
        )
    return sentences


def quality_rows(report: dict[str, Any]) -> list[list[str]]:
    """One row a phase: the metric of each version, and the gain of swapping over static with its interval."""
    rows = []
    for phase, quality in report["quality"].items():
        rows.append([phase, *(f"{quality[name]:.3f}" for name in NAMES), _gain(quality)])
    return rows


def _gain(quality: dict[str, Any]) -> str:
    return gain_text(quality["gain"]) if quality["gain"] is not None else "none of one phone"


def quality_header(report: dict[str, Any]) -> list[str]:
    """The header over `quality_rows`."""
    return [report["metric"].upper(), *NAMES.values(), "gain over static, 95 %"]


def _cards(report: dict[str, Any]) -> list[Card]:
    bench, push = report["bench"], report["push"]
    phases = report["quality"] if _claims(report) else {}
    return [
        *(_gain_card(report["metric"].upper(), phase, quality) for phase, quality in phases.items()),
        *device_cards(bench),
        Card(f"{push['payload_bytes'] / 1024:.1f} KiB", "one push"),
        Card(f"{push['upload_to_swap_ms']['p50']:.0f} ms", "from upload to swapped, on loopback"),
    ]


def _gain_card(metric: str, phase: str, quality: dict[str, Any]) -> Card:
    gain = quality["gain"]
    value, _, interval = gain_text(gain).partition(" ")
    if gain is not None and gain["low"] <= 0 <= gain["high"]:
        value = "no difference shown"
    return Card(value, f"{metric} against the static model, {phase}; 95 % {interval}")


def quality_figure(findings: Findings, report: dict[str, Any]) -> str:
    """Quality of each version over the interactions, as SVG; the dashed line is the drift, where it is known."""
    curves = []
    for name, label in NAMES.items():
        x, y, error = findings.by_step(name, STRETCH)
        curves.append(Line(label, x, y, error))
    drifts = "before the drift" in report["quality"]
    return lines(
        curves,
        x=f"interactions since the {'drift' if drifts else 'training date'}",
        y=report["metric"].upper(),
        mark=0 if drifts else None,
        from_zero=True,
    )


def _quality(findings: Findings, report: dict[str, Any]) -> Section:
    return Section(
        title="What it gains",
        text=(
            f"{report['metric'].upper()} of {report['questions']}, over the same "
            "interactions: by the static model trained alone, and on the phones under the default pack that they were "
            "shipped with, under the first push and under the newest one. What the default pack gains is better "
            "training; what comes on top of it is personal. Bands show one standard error over users."
        ),
        tables=[Table(quality_header(report), quality_rows(report))],
        figures=[quality_figure(findings, report)],
    )


def _inference(measured: Bench, report: dict[str, Any]) -> Section:
    bench = report["bench"]
    return Section(
        title="What it costs on the device",
        text=(
            f"{bench['runtime']}, one thread, this machine's CPU; both programs in turn in one process. "
            "No phone took part: trust the ratio, not the microseconds."
        ),
        tables=[Table(["", "measured"], bench_rows(bench))],
        figures=[inference_figure(measured, "inference, µs")],
        command=f"mnet bench {report['folder']}/bundle",
    )


def _push(findings: Findings, report: dict[str, Any]) -> Section:
    push, wait = report["push"], report["push"]["upload_to_swap_ms"]
    return Section(
        title="What a push costs",
        text=(
            f"{push['count']} pushes of {push['payload_bytes']:,} bytes. From the start of an upload to the "
            f"first inference that can use the answer: {wait['p50']:.0f} ms at the median, "
            f"{wait['p99']:.0f} ms at the 99th percentile. That is upload, generation, signing, long poll, "
            "download, every check, self-test."
        ),
        figures=[histograms({"pushes": findings.upload_to_swap_ms}, x="upload to swapped, ms")],
    )


def _method(report: dict[str, Any]) -> Section:
    return Section(
        title="How it was measured",
        text=(
            "The cloud service and the phones were processes of their own on this machine, over loopback "
            "HTTP. Phones verified each release's signature and each pack's hash, and took new weights only "
            "after their own runtime had reproduced eager PyTorch's output for them. The static model is the "
            "same device model trained alone, to its own best epoch on validation."
        ),
        command=f"mnet evaluate {report['folder']}/run\nmnet verify {report['folder']}/bundle",
    )
