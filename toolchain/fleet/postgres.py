"""A real PostgreSQL on a free port, thrown away when it is done with: for faults on purpose, and for tests."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet.toolchain.errors import UserError

_USER = "postgres"


def _find(name: str) -> str | None:
    """A program of PostgreSQL, where PATH or Debian has it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(debian[0]) if debian else None)


class PostgresServer:
    """One server process on loopback; it can be killed and started again on the same data.

    Raises UserError where PostgreSQL cannot be run: not installed, or this is root and there is no user for it.
    """

    def __init__(self) -> None:
        initdb, postgres = _find("initdb"), _find("postgres")
        if initdb is None or postgres is None:
            raise UserError("PostgreSQL (initdb, postgres) is not installed")
        try:
            import psycopg
        except ImportError as error:
            raise UserError("PostgreSQL needs a driver: pip install 'mnet-mobile[postgres]'") from error
        self._driver = psycopg
        self._postgres = postgres
        self._user = _USER if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._folder = Path(tempfile.mkdtemp(prefix="mnet-postgres-"))
        try:
            if self._user:
                shutil.chown(self._folder, self._user)
            self._data = self._folder / "data"
            self._make_data(initdb)
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            self.start()
        except LookupError:
            shutil.rmtree(self._folder)
            raise UserError(f"PostgreSQL does not run as root, and there is no user {_USER}") from None
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder)}
        command = [self._postgres, "-D", str(self._data), "-p", str(self.port)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user)  # noqa: S603
        deadline = time.monotonic() + 60
        while True:
            try:
                self._driver.connect(self._url("postgres"), connect_timeout=5).close()
                return
            except self._driver.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash would: every connection breaks."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def new_database(self) -> str:
        """The URL of a database of its own."""
        name = f"mnet_{uuid.uuid4().hex}"
        with self._driver.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def _make_data(self, initdb: str) -> None:
        command = [initdb, "-D", str(self._data), "-U", _USER, "-A", "trust", "--no-sync"]
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, user=self._user, cwd=self._folder
        )
        if done.returncode:
            raise UserError(f"PostgreSQL cannot be set up: {done.stderr.strip().splitlines()[-1]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)
