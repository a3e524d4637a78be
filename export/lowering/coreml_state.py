"""A CoreML package whose flat vector of weights is a state instead of an input."""

import copy
from pathlib import Path


def turn_into_state(package: Path, name: str) -> None:
    """Make the flat input of a saved package a state that the program reads.

    torch.export cannot say "a buffer that is only read", so the program is rewritten after its export.
    """
    from coremltools.proto import MIL_pb2, Model_pb2

    (file,) = package.rglob("*.mlmodel")
    specification = Model_pb2.Model()
    specification.ParseFromString(file.read_bytes())
    function = specification.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    (vector,) = (each for each in function.inputs if each.name == name)
    declared = copy.deepcopy(vector.type.tensorType)
    vector.type.stateType.wrappedType.tensorType.CopyFrom(declared)

    read = MIL_pb2.Operation(type="read_state")
    read.inputs["input"].arguments.add().name = name
    result = read.outputs.add(name=f"read_{name}")
    result.type.tensorType.CopyFrom(declared)
    label = read.attributes["name"]
    label.type.tensorType.dataType = MIL_pb2.DataType.STRING
    label.immediateValue.tensor.strings.values.append(result.name)
    for operation in block.operations:
        for argument in operation.inputs.values():
            for bound in argument.arguments:
                if bound.name == name:
                    bound.name = result.name
    operations = [read, *map(copy.deepcopy, block.operations)]
    del block.operations[:]
    block.operations.extend(operations)

    description = specification.description
    (index,) = (k for k, each in enumerate(description.input) if each.name == name)
    state = description.state.add(name=name)
    state.type.stateType.arrayType.CopyFrom(description.input[index].type.multiArrayType)
    del description.input[index]
    file.write_bytes(specification.SerializeToString())
