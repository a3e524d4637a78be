"""What each policy decides on a phone, over a restart too."""

from pathlib import Path

import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.shift import Shift
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.client import Context
from mnet.toolchain.phone.request_policies import STATISTIC, Every, OnShift, RequestPolicy, request_policy

SHIFT = Shift("ids", torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 10.0, 0.5)


def decisions(policy: RequestPolicy, contexts: list[Context]) -> list[bool]:
    taken = []
    for context in contexts:
        asked = policy.asks(context)
        assert policy.asks(context) == asked, "the same chance again, as after an upload that failed"
        policy.went_on(context, asked=asked)
        taken.append(asked)
    return taken


def test_every_counts_chances() -> None:
    assert decisions(Every(1), [[1]] * 3) == [True] * 3
    assert decisions(Every(3), [[1]] * 7) == [True, False, False] * 2 + [True]


def test_shift_compares_with_the_context_of_its_weights_and_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / STATISTIC
    assert decisions(OnShift(SHIFT, file), [[1, 1], [1, 1, 2], [1, 1, 2, 2, 3]]) == [True, False, True]
    again = OnShift(SHIFT, file)
    assert decisions(again, [[1, 1, 2, 2, 3], [1]]) == [False, True]
    file.write_text("damaged")
    assert decisions(OnShift(SHIFT, file), [[1], [1]]) == [True, False]
    with pytest.raises(UserError, match="id from 1 to 3"):
        OnShift(SHIFT, file).asks([4])


def test_names(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    assert decisions(request_policy("never", bundle, tmp_path), [[1], [2]]) == [False, False]
    assert decisions(request_policy("every:2", bundle, tmp_path), [[1], [2]]) == [True, False]
    assert decisions(request_policy("shift", bundle, tmp_path), [[1, 2], [1, 2]]) == [True, False]
    for wrong in ("", "every", "every:0", "every:-1", "sometimes"):
        with pytest.raises(UserError, match="expected never, always, every:N or shift"):
            request_policy(wrong, bundle, tmp_path)
