"""`mnet serve` and `mnet device` as processes of their own, read through their JSON lines."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

Event = dict[str, Any]


# So much CPU is work; a process that only waits takes less in the time for which it may be silent.
LEAST_CPU_S = 0.5


class ProcessEnded(RuntimeError):
    """A process ended or stayed silent while something was awaited of it; carries the end of its log."""


class JsonProcess:
    """A verb of `mnet` run with `--json`, or another module that prints so; ended when the `with` block ends.

    `events` is all that it printed so far; its stderr goes to the file `log`. A process that `works` has no idle loop:
    as long as it takes the CPU, it moves.
    """

    works = False

    def __init__(self, arguments: list[str], log: Path, module: str = "mnet.toolchain.cli") -> None:
        self.events: list[Event] = []
        self._unread: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._name = f"mnet {arguments[0]}" if module == "mnet.toolchain.cli" else module
        self._log = log
        command = [sys.executable, "-m", module, *arguments, "--json"]
        with log.open("ab") as stderr:
            # Two pools of threads on the same cores wait for each other: one thread a process, unless told otherwise.
            alone = {"OMP_NUM_THREADS": "1", **os.environ}
            self.process = subprocess.Popen(  # noqa: S603
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=alone
            )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def next_event(self, name: str, silence_s: float = 60.0) -> Event:
        """The next event of that name not yet waited for, past any others, however long a busy machine takes.

        Raises ProcessEnded when the process ends, or prints nothing for `silence_s`; until its first event, and where
        it `works`, it may also compute.
        """
        moved, computed = time.monotonic(), -1.0
        while True:
            try:
                event = self._unread.get(timeout=min(1.0, silence_s))
            except queue.Empty:
                may_compute = self.works or not self.events
                least = LEAST_CPU_S if self.events else 0.0
                if may_compute and (now := _cpu_s(self.process.pid)) > computed + least:
                    moved, computed = time.monotonic(), now
                elif time.monotonic() - moved > silence_s:
                    raise self._ended(
                        f"printed nothing for {silence_s:.0f} s, and {name!r} was awaited"
                    ) from None
                continue
            moved = time.monotonic()
            if event is None:
                self._unread.put(None)
                raise self._ended(f"ended with {self.process.wait()} before {name!r}")
            if event["event"] == name:
                return event

    def stop(self, timeout_s: float = 20.0) -> int:
        """End it by SIGTERM, and by SIGKILL if that takes too long; returns its exit code."""
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._join()

    def kill(self) -> int:
        """End it by SIGKILL, as a power cut would; returns its exit code."""
        self.process.kill()
        return self._join()

    def _join(self) -> int:
        code = self.process.wait()
        self._reader.join()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # a line that a kill cut short
                self.events.append(event)
                self._unread.put(event)
        self._unread.put(None)

    def _ended(self, what: str) -> ProcessEnded:
        last = self._log.read_text(errors="replace").strip()[-2000:]
        return ProcessEnded(f"{self._name} {what}: {last}")


def _cpu_s(process: int) -> float:
    """Seconds of CPU that a process has used; 0 where the system does not tell."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


class ServerProcess(JsonProcess):
    """`mnet serve`; ready when constructed, with its `url` and the files of its two keys."""

    def __init__(
        self, run: Path | None, bundle: Path, state: Path, port: int = 0, options: Sequence[str] = ()
    ) -> None:
        """Without a run, nothing is generated."""
        state.mkdir(parents=True, exist_ok=True)
        arguments = ["serve", "--bundle", str(bundle), "--state", str(state), "--port", str(port)]
        arguments += [] if run is None else [str(run)]
        super().__init__([*arguments, *options], state / "server.log")
        try:
            ready = self.next_event("ready", silence_s=180.0)
        except ProcessEnded:
            self.stop()
            raise
        self.url: str = ready["url"]
        self.enrolment_key = Path(ready["enrolment_key"])
        self.operator_key = Path(ready["operator_key"])


class PhoneProcess(JsonProcess):
    """`mnet device`: prints `started`, then `enrolled`, `uploaded`, `swapped`, `refused` … as they happen."""

    def __init__(
        self,
        server: ServerProcess,
        bundle: Path,
        state: Path,
        *,
        samples: str = "",
        once: bool = False,
        period_s: float = 0.05,
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        arguments = ["device", "--server", server.url, "--bundle", str(bundle), "--state", str(state)]
        arguments += ["--enrolment-key", str(server.enrolment_key), "--period", str(period_s)]
        arguments += ["--samples", samples] if samples else []
        arguments += ["--once"] if once else []
        super().__init__(arguments, state / "phone.log")


class SimulateProcess(JsonProcess):
    """`mnet simulate`: replays `devices` test users after the first `skip`; prints `predicted`, `replayed` …."""

    works = True

    def __init__(
        self, server: ServerProcess, run: Path, bundle: Path, log: Path, skip: int, devices: int
    ) -> None:
        arguments = ["simulate", str(run), "--server", server.url, "--bundle", str(bundle)]
        arguments += ["--enrolment-key", str(server.enrolment_key)]
        super().__init__([*arguments, "--skip", str(skip), "--users", str(devices)], log)


class LightProcess(JsonProcess):
    """`count` light phones of the server at `url` (`mnet.toolchain.fleet.light_phones`); returns once all enrolled.

    What they upload is drawn from `samples`, a file of a list in JSON.
    """

    def __init__(
        self, url: str, enrolment_key: Path, bundle: str, samples: Path, count: int, seed: int, log: Path
    ) -> None:
        words = [url, str(enrolment_key), bundle, str(samples), str(count), str(seed)]
        super().__init__(words, log, "mnet.toolchain.fleet.light_phones")
        try:
            self.next_event("ready", silence_s=30.0 + count)
        except ProcessEnded:
            self.stop()
            raise

    def result(self) -> Event:
        """End it; what its phones did and met."""
        self.stop()
        return {name: value for name, value in self.next_event("light").items() if name != "event"}
