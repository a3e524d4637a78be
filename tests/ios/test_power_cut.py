"""Killed at any moment while it keeps version after version, the Swift phone has a whole one when it starts again."""

import shutil
import time

import numpy as np

from ios.hosttest import swift
from ios.hosttest.judge import Judge
from tests.ios.conftest import VECTORS, or_skip

KILLS = 12


def test_a_phone_that_was_killed_keeps_a_whole_version() -> None:
    command = or_skip(lambda: swift.program(swift.JUDGE))
    draw = np.random.default_rng(7)
    folder = swift.BUILD / "power-cut"
    for _ in range(KILLS):
        shutil.rmtree(folder, ignore_errors=True)
        saving = Judge(command, VECTORS)
        saving.tell(do="save", state=swift.place(folder))
        said = [saving.read()["kept"] for _ in range(int(draw.integers(1, 6)))]
        time.sleep(float(draw.uniform(0, 0.01)))
        saving.kill()
        with Judge(command, VECTORS) as restarted:
            # What it said is kept; what it was about to say may be.
            assert restarted.ask(do="kept", state=swift.place(folder))["kept"] >= said[-1]
