"""The `mnet` command: one module per verb, each thin: parse, call, print."""

from toolchain.cli.app import main

__all__ = ["main"]
