"""`python -m tests.benchmarks.kills RUN BUNDLE --rounds 100`: end a server over and over, amid all that it does.

Each round starts a server on what the last one left, looks what became of that, and then ends it by SIGKILL or
SIGTERM, in turn, while phones upload, poll and fetch, an operator pushes and rolls back, and a backup is made. After
each tenth round the machine is lost: its last backup is restored into an empty database, by a process that is killed
too, and then by another one.

    lost        an accepted upload, other than those since a backup that was restored, of which no weights came; a push
                or roll-back that was accepted and never done; a device that was enrolled and is not known
    backwards   a version that a phone was given, and is not above what it has
    partial     a pack that is not what its release says, or cannot be read; a database that is damaged or half
                restored
    hung        a server that did not start, or was not gone 12 s after SIGTERM; an answer that took over a minute
"""

import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.backup import back_up, read_backup, restore, restore_keys
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.facts import enrolled
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.errors import UserError
from tests.benchmarks.databases import command_line, databases
from tests.benchmarks.forked import FORKED, ForkedServer, NotStarted, Place
from tests.benchmarks.promised import Phone, Tally

BUSY = 6  # phones that are used in a round, each in a thread; one of them is new
STOPS_WITHIN_S, ANSWERS_WITHIN_S, SETTLES_WITHIN_S = 12.0, 60.0, 60.0
FAULTS = "lost", "backwards", "partial", "hung"


class Rounds:
    """The rounds of one kind of database, in `folder`; `count` is what was seen."""

    def __init__(
        self, run: Path, bundle: Path, folder: Path, new_database: Callable[[], str | None], seed: int
    ) -> None:
        self.count = Tally(dict.fromkeys(FAULTS, 0))
        self.slowest = {"start_s": 0.0, "stop_s": 0.0, "settled_s": 0.0}
        self._paths, self._bundle = (run, bundle), Bundle.load(bundle)
        self._folder, self._new_database = folder, new_database
        self._draw = random.Random(seed)
        self._phones: list[Phone] = []
        self._wanted: dict[int, str] = {}  # roll-outs, by the state that each has to reach
        self._backup: Path | None = None
        self._restored = False
        self._place = Place(folder / "server-0", new_database())

    def run(self, rounds: int, lose_every: int) -> None:
        """All of them, and a last look at what is left."""
        for turn in range(rounds):
            self._round(turn, signal.SIGKILL if turn % 2 == 0 else signal.SIGTERM)
            if turn % lose_every == lose_every - 1 and self._backup is not None:
                self._lose_the_machine(self._backup)
            print(f"round {turn + 1}: {dict(self.count)}", file=sys.stderr, flush=True)
        self._round(rounds, None)
        if self._place.url is None:
            with closing(sqlite3.connect(self._place.server_state.database)) as database:
                (sound,) = database.execute("PRAGMA integrity_check").fetchone()
            self.count.note("partial", sound != "ok")

    def _round(self, turn: int, by: signal.Signals | None) -> None:
        begun = time.monotonic()
        try:
            server = ForkedServer(*self._paths, self._place)
        except NotStarted as error:
            self.count.note("hung")
            raise SystemExit(f"the server does not start: {error}") from error
        with server:
            self._took("start_s", begun)
            with httpx.Client(base_url=f"{server.url}/v1", timeout=ANSWERS_WITHIN_S) as http:
                begun = time.monotonic()
                self._look(http, server)
                self._took("settled_s", begun)
                self.count.note("rounds")
            if by is not None:
                self._end_under_load(server, turn, by)

    def _took(self, what: str, since: float) -> None:
        self.slowest[what] = round(max(self.slowest[what], time.monotonic() - since), 2)

    def _look(self, http: httpx.Client, server: ForkedServer) -> None:
        """What the last round promised is kept, within a minute for each phone."""
        with ThreadPoolExecutor(BUSY) as several:
            self.count.note("lost", sum(several.map(partial(self._lacks, http), self._phones)))
        end = time.monotonic() + SETTLES_WITHIN_S
        key = {"Authorization": f"Bearer {read_key(self._place.server_state.operator_key)}"}
        for rollout, state in self._wanted.items():
            found: dict[str, object] = {}
            while found.get("state") != state and time.monotonic() < end:
                found = http.get(f"/rollouts/{rollout}", headers=key).json()
                time.sleep(0.05)
            if found.get("state") != state:
                self.count.note("lost")
        self._wanted.clear()
        self._restored = False

    def _lacks(self, http: httpx.Client, phone: Phone) -> bool:
        """Whether a phone does not get what it was promised."""
        end = time.monotonic() + SETTLES_WITHIN_S
        if self._restored:
            phone.upload(http, [1, 2, 3])
        while phone.version < phone.accepted and time.monotonic() < end:
            phone.poll(http, 5.0)
        return phone.version < phone.accepted

    def _end_under_load(self, server: ForkedServer, turn: int, by: signal.Signals) -> None:
        over = threading.Event()
        with httpx.Client(base_url=f"{server.url}/v1", timeout=ANSWERS_WITHIN_S) as http:
            enroller = {"Authorization": f"Bearer {read_key(self._place.server_state.enrolment_key)}"}
            answer = http.post("/devices", json={"bundle": self._bundle.id}, headers=enroller).json()
        self._phones.append(Phone(answer, self._bundle, self.count))
        busy = [*self._draw.sample(self._phones[:-1], min(BUSY, len(self._phones)) - 1), self._phones[-1]]
        seeds = [self._draw.random() for _ in busy]
        work = [
            threading.Thread(target=self._use, args=(phone, server.url, over, seed))
            for phone, seed in zip(busy, seeds, strict=True)
        ]
        work.append(threading.Thread(target=self._operate, args=(server, over, turn)))
        work.append(threading.Thread(target=self._back_up, args=(turn,)))
        for thread in work:
            thread.start()
        time.sleep(self._draw.uniform(0.2, 2.5))
        begun = time.monotonic()
        code = server.end(by, STOPS_WITHIN_S)
        self.count.note("hung", code != (0 if by == signal.SIGTERM else -by))
        self._took("stop_s", begun)
        self.count.note(by.name)
        over.set()
        for thread in work:
            thread.join(2 * ANSWERS_WITHIN_S)
            self.count.note("hung", thread.is_alive())

    def _use(self, phone: Phone, url: str, over: threading.Event, seed: float) -> None:
        draw = random.Random(seed)
        with httpx.Client(base_url=f"{url}/v1", timeout=ANSWERS_WITHIN_S) as http:
            while not over.is_set():
                try:
                    if draw.random() < 0.6:
                        phone.upload(http, [draw.randint(1, 20) for _ in range(5)])
                    phone.poll(http, draw.choice([0.0, 0.0, 0.5]))
                except httpx.TimeoutException:
                    self.count.note("hung")
                except httpx.HTTPError:
                    time.sleep(0.05)

    def _operate(self, server: ForkedServer, over: threading.Event, turn: int) -> None:
        key = {"Authorization": f"Bearer {read_key(self._place.server_state.operator_key)}"}
        with httpx.Client(base_url=f"{server.url}/v1", timeout=ANSWERS_WITHIN_S) as http:
            try:
                while not over.wait(0.3):
                    rollout = http.post("/push", json={}, headers=key).json()["rollout"]
                    self.count.note("pushes")
                    self._wanted[rollout] = "done"
                    if (rollout + turn) % 2:
                        # What is cut off may have been done, or not.
                        self._wanted.pop(rollout)
                        http.post(f"/rollouts/{rollout}/rollback", headers=key).raise_for_status()
                        self.count.note("roll-backs")
                        self._wanted[rollout] = "rolled back"
            except httpx.HTTPError:
                return

    def _back_up(self, turn: int) -> None:
        database, state = Database(self._place.database), self._place.server_state
        out = self._folder / f"backup-{turn}"
        back_up(state, database, PackStore(state.packs_url()), out)
        database.close()
        self._backup = out
        self.count.note("backups")

    def _lose_the_machine(self, backup: Path) -> None:
        """Restore the last backup elsewhere; phones are ahead of it, and those enrolled since are known too."""
        shutil.rmtree(self._place.state)
        number = self.count["restores"] + 1
        self._place = Place(self._folder / f"server-{number}", self._new_database())
        restore_keys(backup, self._place.server_state)
        hears, says = FORKED.Pipe(duplex=False)
        child = FORKED.Process(target=_restore, args=(backup, self._place, says))
        child.start()
        hears.recv()
        time.sleep(self._draw.uniform(0.0, 0.15))
        child.kill()
        child.join()
        self.count.note("restores killed", child.exitcode != 0)
        try:
            _restore(backup, self._place)
        except UserError:  # the first try was through when it was killed
            self.count.note("partial", enrolled(self._place.database) != read_backup(backup).devices)
        self.count.note("restores")
        for phone in self._phones:
            phone.accepted = 0  # what came since the backup is lost with the machine; what a phone has stays
        self._wanted.clear()
        self._restored = True


def _restore(backup: Path, place: Place, ready: Connection | None = None) -> None:
    packs = PackStore(place.server_state.packs_url())
    if ready is not None:
        ready.send("ready")
    restore(backup, place.database, packs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was seen as JSON; exit code 1 where anything was lost, backwards, partial or hung."""
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--lose-every", type=int, default=10, help="rounds, after which the machine is lost")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        new_database = databases(stack, options.database)
        rounds = Rounds(options.run, options.bundle, folder, new_database, options.seed)
        rounds.run(options.rounds, options.lose_every)
        print(json.dumps({"database": options.database, **rounds.count, "slowest": rounds.slowest}))
    return int(any(rounds.count[fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
