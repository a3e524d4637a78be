"""A phone at work: it infers without a pause while another thread follows the server."""

import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence

from torch import Tensor

from mnet.toolchain.phone.phone import Phone, Report
from mnet.toolchain.phone.updater import Updater

RECENT = 10_000  # inferences that the reported latency is of


class InferenceLog:
    """Every inference of one fixed input, as runs of equal outputs: `inferred` is reported when a run ends.

    So the log of a million inferences under ten versions is ten lines, and each output can be held against
    eager PyTorch under the versions that were pushed.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last: tuple[int, list[float]] | None = None
        self._count = 0

    def add(self, version: int, output: Tensor) -> None:
        """Note the first output of one inference, and the version that is reported for it."""
        this = version, output.flatten().tolist()
        if this != self._last:
            self.close()
            self._last = this
        self._count += 1

    def close(self) -> None:
        """Report the current run."""
        if self._last is not None:
            version, output = self._last
            self._report("inferred", version=version, count=self._count, output=output)
        self._last, self._count = None, 0


def serve_phone(
    phone: Phone,
    following: Updater,
    inputs: Sequence[Tensor],
    report: Report,
    stop: threading.Event,
    period_s: float = 0.0,
) -> None:
    """Infer on `inputs` until `stop` is set or `following` ends, with a pause of `period_s` in between.

    The last inference starts after that: weights that were swapped in last have served. Raises what `following` raises.
    """
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            following.run(stop)
        except BaseException as error:  # handed to the caller below
            failures.append(error)
        finally:
            stop.set()

    # A daemon: a poll that is under way at the end need not be waited for; the store is safe at any moment.
    thread = threading.Thread(target=follow, name="following", daemon=True)
    thread.start()
    log, latencies, count = InferenceLog(report), deque[float](maxlen=RECENT), 0
    stopping = False
    while not stopping:
        stopping = stop.is_set()
        start, live = time.perf_counter(), phone.live
        outputs = live.run(inputs)
        latencies.append(time.perf_counter() - start)
        log.add(live.version, outputs[0])
        count += 1
        if period_s:
            stop.wait(period_s)
    thread.join(timeout=1.0)
    if failures:
        raise failures[0]
    log.close()
    p50_us = round(statistics.median(latencies) * 1e6, 1) if latencies else None
    report("stopped", version=phone.version, inferences=count, inference_p50_us=p50_us)
