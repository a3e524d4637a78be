"""What the writers of vectors share: the phone that the vectors are about, and how bytes are kept in JSON."""

import base64
from typing import Any

NOW = 1_800_000_000
DEVICE = "0123456789abcdef"
Vector = dict[str, Any]


def base64_text(data: bytes) -> str:
    """Bytes as a vector holds them."""
    return base64.b64encode(data).decode()
