"""A phone that follows its server: it enrols, uploads, polls and swaps until stopped, whatever the network does."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from mnet.export.format.errors import Refused
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.backoff import Backoff
from mnet.toolchain.phone.client import CloudClient, Context, Denied, Offline
from mnet.toolchain.phone.phone import Phone, Report
from mnet.toolchain.phone.request_policies import Every, RequestPolicy
from mnet.toolchain.phone.swapped import Swapped

POLL_S = 25.0
# Until the next context is uploaded, though no weights came of the last one.
PATIENCE_S = 15 * 60.0


class Updater:
    """Keeps one phone up to date; uploads `contexts` one by one, each when the version of the last one runs.

    Each context is a chance to ask, and `policy`, `always` unless given, says which of them are uploaded.
    With `once` it ends when the last context's version runs; without contexts, when any new version does.
    """

    def __init__(
        self,
        phone: Phone,
        server: str,
        report: Report,
        *,
        enrolment_key: str | None,
        cohort: str | None = None,
        contexts: Iterable[Context] = (),
        once: bool = False,
        policy: RequestPolicy | None = None,
    ) -> None:
        self._phone = phone
        self._server = server
        self._report = report
        self._enrolment_key = enrolment_key
        self._cohort = cohort
        self._contexts = deque(contexts)
        self._once = once
        self._policy = policy or Every(1)
        self._awaited: int | None = None  # the version that the last uploaded context will have
        self._upload_started = 0.0
        if not phone.enrolled and enrolment_key is None:
            raise UserError("this phone is not enrolled yet: give it --enrolment-key FILE")

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set or, with `once`, all is done; whatever comes is reported and tried again.

        Raises UserError for samples that the policy cannot read and, with `once`, for what no retry can repair.
        """
        backoff = Backoff()
        with CloudClient(self._server) as client:
            while not stop.is_set():
                try:
                    if self._step(client):
                        return
                    backoff.reset()
                    continue
                except Offline as error:
                    self._fail(stop, backoff, "offline", detail=str(error))
                except Refused as refusal:
                    self._fail(
                        stop, backoff, "refused", reason=str(refusal.reason), detail=refusal.detail, at="poll"
                    )
                except Denied as error:
                    if self._once and (error.status == 422 or not self._phone.enrolled):
                        raise UserError(f"{self._server} refused: {error}") from error
                    self._fail(stop, backoff, "denied", status=error.status, detail=error.detail)
                except OSError as error:
                    self._fail(stop, backoff, "not_persisted", detail=str(error))
                except UserError:
                    raise
                except Exception as error:  # or a bug of ours: inference continues, and so do the retries
                    self._fail(stop, backoff, "failed", detail=f"{type(error).__name__}: {error}")

    def _step(self, client: CloudClient) -> bool:
        """The one next thing to do; returns whether all is done."""
        if not self._phone.enrolled:
            assert self._enrolment_key is not None
            self._phone.enrol(client, self._enrolment_key, self._cohort)
        elif self._contexts and (self._awaited is None or self._waited_s > PATIENCE_S):
            return self._chance(client)
        else:
            return self._poll(client)
        return False

    def _poll(self, client: CloudClient) -> bool:
        start = time.monotonic()
        if (swapped := self._phone.poll(client, POLL_S)) is not None:
            return self._took(swapped)
        if self._awaited is not None and self._phone.not_made >= self._awaited:
            self._report("not_made", version=self._phone.not_made)
            self._awaited = None
            return self._done
        if time.monotonic() - start < POLL_S / 2:
            raise Offline("the poll was answered before its time")  # a server that stops, or something else
        return False

    def _chance(self, client: CloudClient) -> bool:
        samples = self._contexts[0]
        asks = self._policy.asks(samples)
        if asks:
            self._upload_started = time.monotonic()
            try:
                self._awaited = self._phone.upload(client, samples)
            except Denied as error:
                if error.status == 422:
                    self._contexts.popleft()  # no server will read it
                raise
            self._report("uploaded", samples=len(samples), version=self._awaited)
        else:
            self._report("kept", samples=len(samples), version=self._phone.version)
        self._contexts.popleft()
        self._policy.went_on(samples, asked=asks)
        return self._done

    @property
    def _waited_s(self) -> float:
        return time.monotonic() - self._upload_started

    @property
    def _done(self) -> bool:
        return self._once and self._awaited is None and not self._contexts

    def _took(self, swapped: Swapped) -> bool:
        answers_upload = self._awaited is not None and swapped.version >= self._awaited
        self._report(
            "swapped",
            version=swapped.version,
            sha256=swapped.sha256,
            bytes=swapped.bytes,
            fetch_ms=round(swapped.fetch_ms, 3),
            swap_us=round(swapped.swap_us, 1),
            upload_to_swap_ms=(
                round((swapped.at - self._upload_started) * 1e3, 3) if answers_upload else None
            ),
            persisted=swapped.persisted,
        )
        if answers_upload:
            self._awaited = None
        return self._done

    def _fail(self, stop: threading.Event, backoff: Backoff, event: str, **fields: Any) -> None:
        wait_s = backoff.next()
        self._report(event, **fields, retry_in_s=round(wait_s, 2))
        stop.wait(wait_s)
