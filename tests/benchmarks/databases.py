"""What the benchmarks that lose a machine share: their command line, and databases of the kind that it names."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mnet.toolchain.fleet.postgres import PostgresServer


def command_line(about: str | None) -> argparse.ArgumentParser:
    """RUN BUNDLE --database KIND."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return parser


def databases(stack: ExitStack, kind: str) -> Callable[[], str | None]:
    """What gives the URL of a new database at each call, on a server that ends with `stack`; None for a file."""
    if kind == "sqlite":
        return lambda: None
    return stack.enter_context(PostgresServer()).new_database
