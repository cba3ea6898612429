"""Stages of a run that work at the same time: reading, the network and writing.

The network stays in the main thread, where a signal reaches it; the others have a thread of their
own. Decoders, networks and encoders let go of Python's lock while they compute, so threads are
enough. Order is kept; no stage is more than a few items from the next, so memory stays flat.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

HELD = 2  # frames between two stages; a 4K frame is 25 MB


class Overlap(ExitStack):
    """The threads of a run; all have ended when its block has, however it ends."""

    def ahead(self, items: Iterable[Item], most: int | None = None) -> Iterator[Item]:
        """The items, which another thread takes from their iterator, up to `most` (1...) ahead.

        What the iterator raises is raised where its item would have come. Only within the block.
        """
        iterator, end = iter(items), object()
        worker = self._worker()
        most = max(1, HELD if most is None else most)
        upcoming = deque(worker.submit(next, iterator, end) for _ in range(most))
        while (item := upcoming.popleft().result()) is not end:
            upcoming.append(worker.submit(next, iterator, end))
            yield item  # type: ignore[misc]

    def behind(
        self, items: Iterable[Item], do: Callable[[Item], Result], most: int | None = None
    ) -> Generator[Result]:
        """What another thread makes of the items, up to `most` behind.

        Everything that was taken from `items` is done, even where that, or whoever takes the
        results, fails; but nothing after an item that `do` itself fails with.
        """
        worker, most = self._worker(), HELD if most is None else most
        pending: deque[Future[Result]] = deque()
        failed = False

        def done(item: Item) -> Result:
            nonlocal failed
            if failed:
                raise RuntimeError("an item before this one failed")
            failed = True
            result = do(item)
            failed = False
            return result

        try:
            for item in items:
                pending.append(worker.submit(done, item))
                if len(pending) > most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            wait([each for each in pending if not each.cancelled()])  # by the end of the block

    def _worker(self) -> ThreadPoolExecutor:
        worker = ThreadPoolExecutor(1, thread_name_prefix="tubedet")
        self.callback(worker.shutdown, cancel_futures=True)
        return worker
