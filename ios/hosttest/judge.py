"""The Swift phone as a judge of the shared vectors: a process that says a line of JSON for each command.

`ios/Tests/Judge` is the other end. No Apple system is needed: what a phone needs of a runtime, the process asks back
for, and it is the target's own that answers.
"""

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import dtype_name, torch_dtype
from mnet.export.lowering.target import Program, Run
from mnet.export.session import open_baked
from mnet.export.targets import load_program

Line = dict[str, Any]


class Judge:
    """The process of the Swift phone; `bundles` is the folder with the bundles whose programs it asks for."""

    def __init__(self, command: Sequence[str], bundles: Path) -> None:
        self._bundles = bundles
        self._programs: dict[str, Program] = {}
        self._runs: list[Run] = []
        self._process = subprocess.Popen(  # noqa: S603 (no shell; the words are ours)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it end; raises subprocess.TimeoutExpired, and kills it, where it hangs."""
        with self._process:
            try:
                self._process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise

    def ask(self, **command: Any) -> Line:
        """Its answer to a command; raises RuntimeError where it ended instead."""
        self._write(command)
        while "ask" in (line := self.read()):
            self._write(self._answer(line))
        return line

    def tell(self, **command: Any) -> None:
        """Give it a command that has several answers, to `read`."""
        self._write(command)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def read(self) -> Line:
        """The next line that it says; raises RuntimeError where it ended instead."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise RuntimeError(f"the Swift phone ended with {self._process.wait()}")
        line: Line = json.loads(text)
        return line

    def _answer(self, line: Line) -> Line:
        match line["ask"]:
            case "bind":
                return self._bind(line)
            case "baked":
                self._runs.append(open_baked(Bundle.load(self._bundles / line["bundle"])).run)
                return {"run": len(self._runs) - 1}
            case _:
                return self._run(line)

    def _bind(self, line: Line) -> Line:
        name = line["bundle"]
        if name not in self._programs:
            bundle = Bundle.load(self._bundles / name)
            self._programs[name] = load_program(
                bundle.path / bundle.manifest.model.program, bundle.manifest, 1
            )
        parameters = {parameter: _tensor(value) for parameter, value in line["parameters"].items()}
        self._runs.append(self._programs[name].bind(parameters))
        return {"run": len(self._runs) - 1}

    def _run(self, line: Line) -> Line:
        outputs = self._runs[line["run"]]([_tensor(value) for value in line["inputs"]])
        return {"outputs": [_written(output) for output in outputs]}

    def _write(self, line: Line) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()


def _tensor(value: Line) -> torch.Tensor:
    data = bytearray(base64.b64decode(value["data"]))
    return torch.frombuffer(data, dtype=torch_dtype(value["dtype"])).reshape(value["shape"])


def _written(tensor: torch.Tensor) -> Line:
    data = base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()
    return {"dtype": dtype_name(tensor.dtype), "shape": list(tensor.shape), "data": data}
