"""What can be wrong with a bundle, and why a device refuses a weight pack or a release."""

from enum import StrEnum


class BundleError(Exception):
    """A bundle cannot be made or used: missing, of another schema, an unknown target. Says what and where."""


class Reason(StrEnum):
    """Every reason for which a device refuses new weights, or a bundle; each implementation uses them."""

    BAD_SIGNATURE = "bad_signature"
    WRONG_DEVICE = "wrong_device"
    WRONG_BUNDLE = "wrong_bundle"
    STALE_VERSION = "stale_version"
    EXPIRED = "expired"
    WRONG_SIZE = "wrong_size"
    WRONG_HASH = "wrong_hash"
    MALFORMED = "malformed"
    MISSING_TENSOR = "missing_tensor"
    EXTRA_TENSOR = "extra_tensor"
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    NOT_FINITE = "not_finite"
    SELF_TEST_FAILED = "self_test_failed"
    MISSING_FILE = "missing_file"
    EXTRA_FILE = "extra_file"


class IntegrityError(BundleError):
    """A bundle is not what was exported: a file changed, is missing or was added, or outputs are wrong."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Refused(Exception):
    """New weights were refused; the device keeps serving the current ones."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
