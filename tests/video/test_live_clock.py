"""The live clock against simulated cameras, whose true times are known; nothing sleeps.

A simulated picture is due at a true time, has a time by the camera's clock, and arrives some time
after it is due. All in whole microseconds.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import pytest

from tubedet.video.live_clock import LiveClock

SECOND, FRAME = 1_000_000, 40_000
BEGAN = 777 * SECOND  # by this machine's clock
CAMERA_BEGAN = 95_443 * SECOND  # by the camera's
ALLOWED = 50_000

Seen = tuple[int, int | None, int]  # true time, the camera's, arrival


def camera(
    seconds: int,
    *,
    rate: float = 1.0,
    delay: Callable[[random.Random, int], int] = lambda rng, _: rng.randrange(80_000),
    clock: Callable[[int], int | None] = lambda own: own,
) -> Iterator[Seen]:
    """Pictures 40 ms apart, by a camera whose clock counts `rate` seconds in one.

    `delay` tells how late the picture of a true time is; no picture overtakes another.
    """
    rng, arrived = random.Random(0), 0
    for true in range(0, seconds * SECOND, FRAME):
        arrived = max(arrived, BEGAN + true + 5_000 + delay(rng, true))
        yield true, clock(CAMERA_BEGAN + round(true * rate)), arrived


def told(clock: LiveClock, seen: Iterable[Seen]) -> Iterator[tuple[int, int]]:
    """The true time of each picture and the one that the clock tells."""
    for true, own, arrived in seen:
        if own is not None:
            clock.arrived(own, arrived)
        yield true, clock.given(clock.time_us(arrived))


def worst(times: Iterable[tuple[int, int]], from_s: float = 0) -> int:
    return max(abs(time - true) for true, time in times if true >= from_s * SECOND)


@pytest.mark.parametrize("rate", [1.0, 1.0002, 0.9998])
def test_times_hold_for_hours_though_the_network_jitters_and_the_cameras_clock_drifts(
    rate: float,
) -> None:
    """200 ppm are 1.4 s in two hours."""
    times = list(told(LiveClock(), camera(2 * 3600, rate=rate)))
    assert worst(times) <= 25_000
    steps = [later - time for (_, time), (_, later) in pairwise(times)]
    assert min(steps) > 0
    assert max(steps) <= FRAME * 1.03


def test_what_a_connection_begins_with_all_at_once_keeps_its_distances() -> None:
    def burst(_: random.Random, true: int) -> int:
        return max(0, 2 * SECOND - true)

    clock = LiveClock()
    assert worst(told(clock, camera(60, delay=burst))) == 0
    assert clock.zero_us == BEGAN + 5_000


def test_a_pause_of_the_network_moves_no_time() -> None:
    def held_back(rng: random.Random, true: int) -> int:
        pause = 60 * SECOND <= true < 68 * SECOND
        return 68 * SECOND - true if pause else rng.randrange(80_000)

    assert worst(told(LiveClock(), camera(180, delay=held_back))) <= 25_000


@pytest.mark.parametrize("leap_s", [3600, -3600, 2, -2, 30])
def test_a_clock_that_leaps_is_told_by_arrival(leap_s: int) -> None:
    leapt_at = CAMERA_BEGAN + 60 * SECOND
    times = list(
        told(
            LiveClock(),
            camera(120, clock=lambda own: own + leap_s * SECOND if own >= leapt_at else own),
        )
    )
    assert worst(times) <= 80_000  # the first picture behind the leap is as late as it is
    assert worst(times, from_s=63) <= ALLOWED


def test_a_single_wild_time_does_no_harm() -> None:
    wild_at = CAMERA_BEGAN + 60 * SECOND
    times = told(
        LiveClock(),
        camera(120, clock=lambda own: own + 9999 * SECOND if own == wild_at else own),
    )
    assert worst(times) <= 80_000


@pytest.mark.parametrize("rate", [1.01, 0.99])
def test_a_clock_that_is_a_hundredth_off_is_followed(rate: float) -> None:
    assert worst(told(LiveClock(), camera(3600, rate=rate))) <= 150_000


def test_without_any_times_it_goes_by_arrival() -> None:
    assert worst(told(LiveClock(), camera(60, clock=lambda _: None))) <= 80_000


def test_behind_an_outage_times_go_on_by_this_machines_clock() -> None:
    clock = LiveClock()
    list(told(clock, camera(60)))
    clock.restart()
    after = [
        (true + 100 * SECOND, CAMERA_BEGAN - 5 * SECOND + true, arrived + 100 * SECOND)
        for true, _, arrived in camera(60)
    ]
    times = list(told(clock, after))
    assert worst(times) <= 80_000
    assert worst(times, from_s=103) <= ALLOWED


def test_the_zero_is_when_the_first_picture_would_have_come_at_best() -> None:
    def first_late(_: random.Random, true: int) -> int:
        return 70_000 if true == 0 else 0

    clock = LiveClock()
    assert worst(told(clock, camera(60, delay=first_late))) == 0
    assert clock.zero_us == BEGAN + 5_000
