"""What a roll-out did for its users, as a row of a table: for `mnet ab` and for the server's page."""

from typing import Any

HEADER = ("metric", "treated", "held out", "difference", "95 % interval", "devices", "values")


def row(found: dict[str, Any]) -> tuple[str, ...]:
    """The fields of a `Comparison`, treated first, as text; no difference without an interval."""
    treated, held_out, seen = found["treated"], found["held_out"], found["difference"]
    interval = seen and seen["interval"]
    return (
        found["metric"],
        _number(treated["mean"]),
        _number(held_out["mean"]),
        _number(seen["difference"], "+") if interval else "",
        f"{interval[0]:+.4g} to {interval[1]:+.4g}" if interval else "too few phones",
        f"{treated['devices']:,} and {held_out['devices']:,}",
        f"{treated['values']:,} and {held_out['values']:,}",
    )


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4g}"
