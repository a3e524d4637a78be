"""What came of a simulation, as figures and as tables for people."""

from typing import Any

from mnet.toolchain.fleet.simulation import Disturbance, Outcome, Plan
from mnet.toolchain.training.run import Run

STRETCH = 10  # turns that a point of quality over time is of

SWAP_HEADER = ("policy", "swaps", "swap µs p50 / p99", "upload to swapped ms p50 / p99")
FAULT_HEADER = ("fault", "turn", "phones met", "wrong", "backwards")


def simulation_report(run: Run, plan: Plan, drift: int | None, outcome: Outcome) -> dict[str, Any]:
    """All figures as JSON: bytes and requests are of one phone, curves over the turns of the fleet."""
    totals = outcome.totals
    of_all = next(iter(totals.values()))
    turns, static = of_all.quality("static", STRETCH)
    return {
        "run": run.name,
        "seed": plan.seed,
        "devices": len(plan.timelines),
        "drift": drift,
        "server": outcome.stands_on,
        "metric": run.task.metrics[0],
        "policies": {policy: _policy(policy, outcome, len(plan.timelines)) for policy in totals},
        "quality": {
            "turn": turns,
            "static": static,
            **{policy: each.quality("live", STRETCH)[1] for policy, each in totals.items()},
        },
        "phones": of_all.phones(),
        "cumulative_bytes": {policy: each.cumulative_bytes() for policy, each in totals.items()},
        "faults": [disturbance.report() for disturbance in outcome.disturbances],
        "met_otherwise": dict(outcome.calm),
        "light": outcome.light,
    }


def _policy(policy: str, outcome: Outcome, phones: int) -> dict[str, Any]:
    fleet = outcome.fleets[policy]
    return {
        "requests": fleet.requests / phones,
        "context_bytes": fleet.context_bytes / phones,
        **outcome.totals[policy].result(),
        "lost": fleet.lost,
        "wrong": fleet.wrong,
        "backwards": fleet.backwards,
    }


def policy_header(report: dict[str, Any]) -> list[str]:
    """The header over `policy_rows`."""
    costs = ("requests a phone", "kB of weights", "kB of contexts")
    return ["policy", *costs, report["metric"], "default pack", "static"]


def policy_rows(report: dict[str, Any]) -> list[list[str]]:
    """One row a policy, under `policy_header`."""
    return [
        [
            policy,
            f"{found['requests']:.1f}",
            f"{found['weight_bytes'] / 1000:.1f}",
            f"{found['context_bytes'] / 1000:.1f}",
            *(f"{found['metric'][version]:.4f}" for version in ("live", "default", "static")),
        ]
        for policy, found in report["policies"].items()
    ]


def swap_rows(report: dict[str, Any]) -> list[list[str]]:
    """One row a policy, under SWAP_HEADER."""
    return [
        [policy, str(found["swaps"]), _latency(found["swap_us"]), _latency(found["upload_to_swap_ms"])]
        for policy, found in report["policies"].items()
    ]


def fault_rows(disturbances: list[Disturbance]) -> list[list[str]]:
    """One row a fault, under FAULT_HEADER."""
    return [
        [
            found.fault,
            str(found.turn),
            f"skipped: {found.skipped}" if found.skipped else _counts(found.met),
            str(found.wrong),
            str(found.backwards),
        ]
        for found in disturbances
    ]


def light_rows(light: dict[str, Any]) -> list[list[str]]:
    """What the light phones did and met, a line each."""
    return [
        ["phones", str(light["phones"])],
        ["uploads", str(light["uploads"])],
        ["packs fetched", f"{light['fetched']} ({light['bytes'] / 1000:.0f} kB)"],
        ["upload to fetched ms p50 / p99", _latency(light["upload_to_fetched_ms"])],
        ["uploads unanswered", str(light["unanswered"])],
        ["met", _counts(light["errors"])],
    ]


def _counts(met: dict[str, int]) -> str:
    ordered = sorted(met.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {what}" for what, count in ordered) or "nothing"


def _latency(figures: dict[str, float] | None) -> str:
    return f"{figures['p50']:.0f} / {figures['p99']:.0f}" if figures else "-"
