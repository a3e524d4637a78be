"""The server's log, on stderr: lines for people, or one JSON object a line for machines."""

import logging
import sys
import traceback

from pythonjsonlogger.json import JsonFormatter

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def where(error: Exception) -> str:
    """Where an error was raised, and not what it says: its message may quote a context."""
    return "".join(traceback.format_tb(error.__traceback__))


def log_to_stderr(as_json: bool) -> None:
    """Set up logging for the process; nothing of a context or a secret is ever passed to it."""
    handler = logging.StreamHandler(sys.stderr)
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    handler.setFormatter(JsonFormatter(_TEXT, rename_fields=names) if as_json else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Steps of the schema, and each of an object store's requests, are of no use to whoever is on call.
    for quiet in ("alembic", "botocore", "aiobotocore", "s3fs", "fsspec"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
