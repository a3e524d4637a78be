"""ExecuTorch's wheel, as the targets `android` and `executorch` run it on the host and look into its files."""

import functools
import importlib
import importlib.metadata
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import Runtime
from mnet.export.lowering.quiet import muted, quiet
from mnet.export.lowering.target import Node


def runtime() -> Runtime:
    """ExecuTorch as installed here."""
    return Runtime(name="executorch", version=importlib.metadata.version("executorch"))


@functools.cache
def library() -> Any:
    """ExecuTorch's Python binding.

    The compiled module is imported as it is: its public wrapper loads the whole exporter, 3 s at each start.
    It writes to stderr from C++.
    """
    with muted():
        return importlib.import_module("executorch.extension.pybindings._C")


def use_threads(threads: int) -> None:
    """Let this process's inferences use so many threads; BundleError where it has loaded programs for another number.

    There is one pool a process, and every loaded method points to it.
    """
    if not _pool:
        with muted():
            library()._unsafe_reset_threadpool(threads)
        _pool.append(threads)
    if _pool[0] != threads:
        raise BundleError(
            f"ExecuTorch has one thread pool a process, here of {_pool[0]}: {threads} need a process of their own"
        )


_pool: list[int] = []


def nodes(path: Path) -> list[Node]:
    """The operations of a `.pte`, those that XNNPACK took included; see `TargetModule`."""
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary
        from executorch.exir.schema import DelegateCall, KernelCall

    program = deserialize_pte_binary(path.read_bytes()).program
    found = []
    for plan in program.execution_plan:
        for instruction in (each.instr_args for chain in plan.chains for each in chain.instructions):
            if isinstance(instruction, KernelCall):
                op = plan.operators[instruction.op_index].name.removeprefix("aten::")
                found.append(Node(plan.name, "portable kernels", op))
            elif isinstance(instruction, DelegateCall):
                delegate = plan.delegates[instruction.delegate_index]
                blob = bytes(program.backend_delegate_data[delegate.processed.index].data)
                found.extend(Node(plan.name, "XNNPACK", op) for op in _delegated_ops(blob))
    return found


def _delegated_ops(blob: bytes) -> list[str]:
    """The ops of one delegate's graph. The wheel has the schema and flatc, but no reader of its own."""
    from executorch.backends.xnnpack.serialization import xnnpack_graph_serialize as format

    header = format.XNNHeader.from_bytes(blob[: format.XNNHeader.EXPECTED_LENGTH])
    graph = blob[header.flatbuffer_offset :][: header.flatbuffer_size]
    found = decompiled(graph, {"schema.fbs": format._get_schema_bytes()}, "schema.fbs", "--raw-binary")
    return [str(node["xnode_union_type"]).removeprefix("XNN") for node in found["xnodes"]]


def decompiled(data: bytes, schemas: Mapping[str, bytes], root: str, *options: str) -> Any:
    """What flatc, which the wheel has, makes of a flatbuffer: `schemas` by file name, `root` the one of `data`."""
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, schema in schemas.items():
            (folder / file).write_bytes(schema)
        (folder / "data.bin").write_bytes(data)
        _flatc_decompile(name, str(folder / root), str(folder / "data.bin"), list(options))
        # flatc writes bare `inf` for the bounds of an activation, which is no JSON.
        text = re.sub(r": (-?)inf\b", r": \1Infinity", (folder / "data.json").read_text())
    return json.loads(text)
