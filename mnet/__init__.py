"""Hot-loadable weights on phones: train, generate, export, pack and swap."""

__version__ = "0.2.0"
