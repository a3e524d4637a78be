"""The PostgreSQL of a test."""

import pytest

from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.postgres import PostgresServer


def postgres_server() -> PostgresServer:
    """A new one; skips the test, and says why, where PostgreSQL cannot be run."""
    try:
        return PostgresServer()
    except UserError as missing:
        pytest.skip(str(missing))
