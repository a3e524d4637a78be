"""Where an inference of a `.pte` spends its time, by ExecuTorch's own tracer of events (ETDump).

The tracer notes each call of a kernel and of a delegate. What a portable kernel takes is the most that a delegate could
save; the notes themselves cost some tenths of a microsecond a call.
"""

import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mnet.export.lowering.executorch_runtime import decompiled, library, use_threads
from mnet.export.lowering.target import Profile

INFERENCES = 100
_WARM_UP = 10
_INFERENCE, _KERNEL = "Method::execute", "native_call_"  # what the runtime calls its events

Call = Callable[[str, Sequence[Tensor]], list[Tensor]]


def profile_of(data: bytes, infer: Callable[[Call], object], weights: Path | None = None) -> Profile:
    """Run a program `INFERENCES` times under the tracer.

    Args:
        data: the `.pte`.
        infer: one inference; what it is given calls a method of the program, by its name, with its inputs.
        weights: the `.ptd` of the program, if it has one.
    """
    use_threads(1)
    program = library()._load_program_from_buffer(
        data, enable_etdump=True, data_path=weights and str(weights)
    )
    methods: dict[str, Any] = {}
    called: list[str] = []

    def call(name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        if name not in methods:
            methods[name] = program.load_method(name)
        called.append(name)
        outputs: list[Tensor] = methods[name].call(list(inputs), True)
        return outputs

    for _ in range(_WARM_UP + INFERENCES):
        infer(call)
    with tempfile.TemporaryDirectory() as name:
        trace = Path(name) / "trace.etdp"
        program.write_etdump_result_to_file(str(trace))
        runs = _calls(trace.read_bytes())
    inferences: list[Counter[str]] = [Counter() for _ in range(_WARM_UP + INFERENCES)]
    calls_each = len(called) // len(inferences)
    for number, took in enumerate(runs):
        inferences[number // calls_each].update(took)
    times = {
        op: statistics.median(each[op] for each in inferences[_WARM_UP:]) / 1000 for op in inferences[-1]
    }
    return Profile(times.pop(_INFERENCE), times)


def _calls(trace: bytes) -> list[dict[str, int]]:
    """The nanoseconds of each call of a method, as a whole and by kernel."""
    import executorch

    folder = Path(next(iter(executorch.__path__))) / "devtools" / "etdump"  # imported, it takes seconds
    schemas = {path.name: path.read_bytes() for path in folder.glob("*.fbs")}
    dump = decompiled(trace, schemas, "etdump_schema_flatcc.fbs", "--size-prefixed")
    found = []
    for run in dump["run_data"]:
        took: Counter[str] = Counter()
        for event in (each["profile_event"] for each in run["events"] if "profile_event" in each):
            name = event.get("name", "")  # an event within a delegate has an id instead
            if name == _INFERENCE or name.startswith(_KERNEL):
                op = name.removeprefix(_KERNEL).partition(".")[0]
                took[op] += event["end_time"] - event["start_time"]
        if _INFERENCE in took:
            found.append(dict(took))
    return found
