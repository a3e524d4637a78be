"""Rows of a table as a generated parameter of their own: items or classes that a push adds to a model.

`items.weight[50:60]` names rows 50 to 59 of `items.weight`. A model is prepared by cutting the table: its rows become
parameters of these very names, so that whatever trains, exports or swaps a parameter takes them like any other. Room
for rows that do not exist yet is reserved as rows of zeros behind the last one.
"""

import copy
import itertools
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.export.format.errors import BundleError

_ROWS = re.compile(r"(?P<table>.+)\[(?P<start>\d+):(?P<stop>\d+)\]")


def table_rows(name: str) -> tuple[str, int, int] | None:
    """The table and the first and last + 1 row that a parameter's name stands for; None for a whole parameter."""
    found = _ROWS.fullmatch(name)
    return None if found is None else (found["table"], int(found["start"]), int(found["stop"]))


def rows_name(table: str, start: int, stop: int) -> str:
    """The name of the rows from `start` to before `stop`."""
    return f"{table}[{start}:{stop}]"


def parse_reserve(options: Sequence[str]) -> dict[str, int]:
    """`{"items": 500}` of `items=500`. BundleError for anything else."""
    found = {}
    for option in options:
        table, _, rows = option.rpartition("=")
        if not table or not rows.strip().isdecimal():
            raise BundleError(f"{option!r} reserves no rows; write it as in `item_embedding=500`")
        found[table.strip()] = int(rows)
    return found


def with_reserve(model: nn.Module, reserve: Mapping[str, int]) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of `model` whose tables have that many further rows of zeros, and the names of these rows.

    A table is the weight of an Embedding, or of a Linear, whose bias grows with it; it may be called as its layer is.
    Raises BundleError for others.
    """
    grown, names = copy.deepcopy(model), list[str]()
    layers = dict(grown.named_modules())
    for named, more in reserve.items():
        table = f"{named}.weight" if named in layers else named
        layer = _layer(grown, table)
        if more < 1:
            raise BundleError(f"{more} rows are reserved for {table}; it must be 1 or more")
        parts = ["weight"] if isinstance(layer, nn.Embedding) or layer.bias is None else ["weight", "bias"]
        for part in parts:
            old = layer.get_parameter(part)
            new = nn.Parameter(torch.cat([old.detach(), old.detach().new_zeros(more, *old.shape[1:])]))
            # Tied to another layer, the table grows there as well.
            for other in grown.modules():
                for name, value in list(other.named_parameters(recurse=False)):
                    if value is old:
                        setattr(other, name, new)
            names.append(rows_name(f"{table.rpartition('.')[0]}.{part}".lstrip("."), len(old), len(new)))
        _tell_size(layer, more)
    return grown, tuple(names)


def with_rows(model: nn.Module, generated: Sequence[str]) -> nn.Module:
    """`model`, or a copy whose tables are cut so that all of `generated` are parameters.

    Raises BundleError for rows of what is no table, that it does not have, or that are named twice.
    """
    wanted: dict[str, list[tuple[int, int]]] = {}
    present = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name in generated:
        if name not in present and (found := table_rows(name)):
            wanted.setdefault(found[0], []).append(found[1:])
    if not wanted:
        return model
    cut = copy.deepcopy(model)
    for table, ranges in wanted.items():
        if table in generated:
            raise BundleError(f"{table} is generated as a whole and by rows; name one of the two")
        _cut(cut, table, sorted(ranges))
    return cut


def _cut(model: nn.Module, table: str, ranges: Sequence[tuple[int, int]]) -> None:
    path, _, part = table.rpartition(".")
    # A bias is cut as its weight is.
    layer = _layer(model, f"{path}.weight".lstrip(".") if part == "bias" else table)
    shared = layer.get_parameter(part)
    if twins := [
        name
        for name, value in model.named_parameters(remove_duplicate=False)
        if value is shared and name != table
    ]:
        raise BundleError(
            f"{table} is shared with {', '.join(twins)}; rows are generated of a table of its own only"
        )
    whole = shared.detach()
    edges = [0, *(edge for limits in ranges for edge in limits), len(whole)]
    if sorted(edges) != edges or any(start == stop for start, stop in ranges):
        given = ", ".join(rows_name(table, *limits) for limits in ranges)
        raise BundleError(f"{given}: {table} has rows 0 to {len(whole) - 1}, and each can be named once")
    pieces = [(start, stop) for start, stop in itertools.pairwise(edges) if start < stop]
    delattr(layer, part)
    for start, stop in pieces:
        layer.register_parameter(rows_name(part, start, stop), nn.Parameter(whole[start:stop].clone()))
    pieces_of = dict(getattr(layer, "pieces", {})) | {part: pieces}
    if not isinstance(layer, _InPieces):
        layer.__class__ = _EmbeddingInPieces if isinstance(layer, nn.Embedding) else _LinearInPieces
    layer.pieces = pieces_of  # type: ignore[assignment]


def _layer(model: nn.Module, table: str) -> nn.Embedding | nn.Linear:
    path, _, part = table.rpartition(".")
    try:
        layer = model.get_submodule(path)
        getattr(layer, part)
    except AttributeError:
        known = ", ".join(name for name, _ in model.named_parameters())
        raise BundleError(f"the model has no parameter {table!r}; it has {known}") from None
    if part != "weight" or type(layer) not in (nn.Embedding, nn.Linear, _EmbeddingInPieces, _LinearInPieces):
        raise BundleError(f"{table} is no table: rows are those of the weight of an Embedding or a Linear")
    assert isinstance(layer, nn.Embedding | nn.Linear)
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        raise BundleError(
            f"{table} is normalized whenever it is read (max_norm); its rows cannot be generated"
        )
    return layer


def _tell_size(layer: nn.Embedding | nn.Linear, more: int) -> None:
    if isinstance(layer, nn.Embedding):
        layer.num_embeddings += more
    else:
        layer.out_features += more


class _InPieces(nn.Module):
    """A layer of which some tensors are cut into parameters, each named by its rows."""

    pieces: dict[str, list[tuple[int, int]]]

    def piece(self, part: str, start: int, stop: int) -> Tensor:
        value: Tensor = getattr(
            self, rows_name(part, start, stop)
        )  # under functional_call it is a plain tensor
        return value

    def joined(self, part: str) -> Tensor:
        return torch.cat([self.piece(part, *limits) for limits in self.pieces[part]])


class _EmbeddingInPieces(_InPieces, nn.Embedding):
    """Looks each id up in the piece that it lies in; no table is put together."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The whole table, for a model that uses it in another way too."""
        return self.joined("weight")

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor | None = None
        for start, stop in self.pieces["weight"]:
            rows = functional.embedding(
                (ids - start).clamp(0, stop - start - 1), self.piece("weight", start, stop)
            )
            found = rows if found is None else torch.where((ids >= start).unsqueeze(-1), rows, found)
        assert found is not None
        return found


class _LinearInPieces(_InPieces, nn.Linear):
    """Computes the outputs of each piece and puts them one behind the other."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The whole matrix, for a model that uses it in another way too."""
        return self.joined("weight") if "weight" in self.pieces else self._parameters["weight"]  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:  # type: ignore[override]
        """The whole bias."""
        return self.joined("bias") if "bias" in self.pieces else self._parameters.get("bias")

    def forward(self, x: Tensor) -> Tensor:
        if "weight" not in self.pieces:
            return functional.linear(x, self.weight, self.bias)
        bias = self.bias if "bias" in self.pieces or self.bias is not None else None
        cut_alike = self.pieces.get("bias") == self.pieces["weight"]
        outputs = [
            functional.linear(
                x,
                self.piece("weight", start, stop),
                self.piece("bias", start, stop) if cut_alike else None if bias is None else bias[start:stop],
            )
            for start, stop in self.pieces["weight"]
        ]
        return torch.cat(outputs, -1)
