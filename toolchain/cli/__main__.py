"""`python -m mnet.toolchain.cli` is `mnet`: what starts a sibling process without relying on PATH."""

from mnet.toolchain.cli.app import main

main()
