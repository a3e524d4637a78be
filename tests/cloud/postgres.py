"""A real PostgreSQL, started for the tests on a free port and thrown away after them."""

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

import psycopg
import pytest

_USER = "postgres"


def _find(name: str) -> str | None:
    """A program of PostgreSQL, where PATH or Debian has it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(debian[0]) if debian else None)


class PostgresServer:
    """One server process on loopback; it can be killed and started again on the same data.

    Skips the test where PostgreSQL is not installed, or where the tests run as root and there is no user for it.
    """

    def __init__(self) -> None:
        initdb, postgres = _find("initdb"), _find("postgres")
        if initdb is None or postgres is None:
            pytest.skip("PostgreSQL (initdb, postgres) is not installed")
        self._postgres = postgres
        self._root = os.geteuid() == 0  # which PostgreSQL refuses to run as
        self._folder = Path(tempfile.mkdtemp(prefix="mnet-postgres-"))
        if self._root:
            try:
                shutil.chown(self._folder, _USER)
            except LookupError:
                pytest.skip(f"PostgreSQL does not run as root, and there is no user {_USER}")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._data = self._folder / "data"
        self._run([initdb, "-D", str(self._data), "-U", _USER, "-A", "trust", "--no-sync"]).check_returncode()
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            self._postgres,
            "-D",
            str(self._data),
            "-p",
            str(self.port),
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        command += ["-c", f"unix_socket_directories={self._folder}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=_USER if self._root else None
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self._url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
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
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            command, capture_output=True, user=_USER if self._root else None, cwd=self._folder
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)
