"""Long polls wake for their own device, from any thread, and all of them when the server stops."""

import asyncio
import threading

from toolchain.cloud.waiting import Waiting


async def _woken(waiting: Waiting, device: str, polls: list[str]) -> None:
    with waiting.registered(device) as event:
        polls.append(device)
        await event.wait()


def test_a_release_wakes_the_polls_of_its_device_only() -> None:
    async def scenario() -> None:
        waiting, polls = Waiting(), list[str]()
        first, second, other = (asyncio.create_task(_woken(waiting, device, polls)) for device in "aab")
        while len(polls) < 3:
            await asyncio.sleep(0)
        thread = threading.Thread(target=waiting.wake, args=("a",))
        thread.start()
        thread.join()
        await asyncio.wait_for(asyncio.gather(first, second), 10)
        assert not other.done()
        waiting.close()
        await asyncio.wait_for(other, 10)

    asyncio.run(scenario())


def test_waking_nobody_is_no_error() -> None:
    async def scenario() -> None:
        waiting = Waiting()
        waiting.wake("nobody ever waited")
        with waiting.registered("a"):
            pass
        waiting.wake("a")
        waiting.close()
        waiting.wake("a")

    asyncio.run(scenario())
