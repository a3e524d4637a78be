"""Long polls are handed the releases of their own device, from any thread, and all end when the server stops."""

import asyncio
import threading

from mnet.toolchain.cloud.long_polls import AT_ONCE, Key, LongPolls, Published

A, B = ("a", "bundle"), ("b", "bundle")


async def _poll(long_polls: LongPolls, key: Key, begun: list[Key], after: int = 0) -> Published | None:
    with long_polls.registered(key) as poll:
        begun.append(key)
        return await poll.newer_than(after, 30)


def test_a_release_is_handed_to_the_polls_of_its_device_only() -> None:
    async def scenario() -> None:
        long_polls, begun = LongPolls(), list[Key]()
        first, second, other = (asyncio.create_task(_poll(long_polls, key, begun)) for key in (A, A, B))
        while len(begun) < 3:
            await asyncio.sleep(0)
        assert len(long_polls) == 2
        assert A in long_polls
        assert ("a", "another bundle") not in long_polls
        release = Published(1, "jws")
        thread = threading.Thread(target=long_polls.wake, args=({A: release},))
        thread.start()
        thread.join()
        assert await asyncio.wait_for(asyncio.gather(first, second), 10) == [release, release]
        assert not other.done()
        long_polls.close()
        assert await asyncio.wait_for(other, 10) is None
        assert len(long_polls) == 0

    asyncio.run(scenario())


def test_a_release_that_the_device_has_ends_no_poll() -> None:
    async def scenario() -> None:
        long_polls, begun = LongPolls(), list[Key]()
        poll = asyncio.create_task(_poll(long_polls, A, begun, after=2))
        while not begun:
            await asyncio.sleep(0)
        for version in (1, 2, 3):
            assert not poll.done()
            long_polls.wake({A: Published(version, f"jws-{version}")})
            for _ in range(5):
                await asyncio.sleep(0)
        assert await asyncio.wait_for(poll, 10) == Published(3, "jws-3")

    asyncio.run(scenario())


def test_a_device_holds_few_polls_and_the_oldest_ends_first() -> None:
    async def scenario() -> None:
        long_polls, begun = LongPolls(), list[Key]()
        polls = [asyncio.create_task(_poll(long_polls, A, begun)) for _ in range(AT_ONCE + 2)]
        while len(begun) < len(polls):
            await asyncio.sleep(0)
        done, waiting = await asyncio.wait(polls, timeout=0.2)
        assert done == set(polls[:2])
        assert len(waiting) == AT_ONCE
        long_polls.close()
        await asyncio.gather(*waiting)
        assert len(long_polls) == 0

    asyncio.run(scenario())


def test_a_poll_ends_with_its_time() -> None:
    async def scenario() -> None:
        with LongPolls().registered(A) as poll:
            assert await poll.newer_than(0, 0) is None

    asyncio.run(scenario())


def test_waking_nobody_is_no_error() -> None:
    async def scenario() -> None:
        long_polls, release = LongPolls(), {A: Published(1, "jws")}
        long_polls.wake(release)
        with long_polls.registered(A):
            pass
        long_polls.wake(release)
        long_polls.close()
        long_polls.wake(release)
        with long_polls.registered(A) as late:
            assert await late.newer_than(0, 30) is None

    asyncio.run(scenario())
