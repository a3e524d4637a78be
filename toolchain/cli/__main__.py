"""`python -m toolchain.cli` is `mnet`: what starts a sibling process without relying on PATH."""

from toolchain.cli.app import main

main()
