"""One LiteRT interpreter of the Python wheel for the Java API of `hosttest/litert`, as Java's DataOutput writes.

In: threads, the model; then, for each run, the inputs by the alphabet of their names. Out: a refusal or an empty
text, and the signature; then, for each run, a refusal or an empty text, and the outputs by the alphabet.
"""

import os
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

_NAMES = {
    "float32": "FLOAT32",
    "int32": "INT32",
    "uint8": "UINT8",
    "int64": "INT64",
    "bool": "BOOL",
    "int8": "INT8",
}


def main() -> None:
    """Serve one interpreter until the input ends."""
    given, taken = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # LiteRT prints where it likes
    from ai_edge_litert.interpreter import Interpreter

    threads, model = _number(given), _bytes(given)
    try:
        interpreter = Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
        inputs, outputs = _signature(interpreter)
    except (RuntimeError, ValueError) as error:
        _say(taken, str(error))
        return
    _say(taken, "")
    for details in (inputs, outputs):
        _describe(taken, details)
    taken.flush()
    while given.peek(1):
        for _, each in inputs:
            interpreter.set_tensor(
                each["index"], np.frombuffer(_bytes(given), each["dtype"]).reshape(each["shape"])
            )
        interpreter.invoke()
        _say(taken, "")
        for _, each in outputs:
            data = interpreter.get_tensor(each["index"]).tobytes()
            taken.write(struct.pack(">i", len(data)) + data)
        taken.flush()


def _signature(interpreter: Any) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    # Not kept: an interpreter refuses to run while its runner is referred to.
    runner = interpreter.get_signature_runner("serving_default")
    return sorted(runner.get_input_details().items()), sorted(runner.get_output_details().items())


def _describe(taken: BinaryIO, details: list[tuple[str, Any]]) -> None:
    taken.write(struct.pack(">i", len(details)))
    for name, each in details:
        _text(taken, name)
        _text(taken, _NAMES[np.dtype(each["dtype"]).name])
        shape = [int(length) for length in each["shape"]]
        size = int(np.prod(shape)) * np.dtype(each["dtype"]).itemsize
        taken.write(struct.pack(f">{len(shape) + 2}i", len(shape), *shape, size))


def _say(taken: BinaryIO, refusal: str) -> None:
    _text(taken, refusal)
    taken.flush()


def _text(taken: BinaryIO, text: str) -> None:
    data = text.encode("ascii", "replace")
    taken.write(struct.pack(">H", len(data)) + data)


def _number(given: BinaryIO) -> int:
    (number,) = struct.unpack(">i", _read(given, 4))
    return int(number)


def _bytes(given: BinaryIO) -> bytes:
    return _read(given, _number(given))


def _read(given: BinaryIO, size: int) -> bytes:
    data = given.read(size)
    if len(data) < size:
        sys.exit()
    return data


if __name__ == "__main__":
    main()
