"""The clock of a live source: times of its pictures on this machine's clock, without the jitter.

A picture's own time says exactly how far it is from its neighbours, but by the camera's clock,
which is somewhat too fast or slow, starts anew with every connection and may leap. When a picture
comes says what time it is, but late by what the network holds it back. The picture that is held
back least tells the difference of the two clocks: the least of (arrival - own time) in a window.

All times are whole microseconds.
"""

from collections import deque

SECOND_US = 1_000_000
WINDOW_S = 10  # seconds with pictures; at 100 ppm, a clock drifts by 1 ms in them
BEGINNING_US = 5 * SECOND_US  # in which the first picture may turn out to have come late
SETTLING_US = 2 * SECOND_US  # behind a restart, the clock follows at once what it learns
SLOW_SLEW, FAST_SLEW = 50, 4  # it then corrects at most one part in so many of each step,
SLOW_SLEW_UP_TO_US = 50_000  # the smaller one as long as it is off by less than this,
MOST_SLEWED_US = SECOND_US  # and at once what is more than this
LEAP_AHEAD_US = SECOND_US  # earlier than the network could be quicker: the source's clock leapt
LEAP_BACK_US = SECOND_US // 2
LEAST_STEP_US = 1_000
# Demuxers, parsers and decoders wait for what follows a picture. At the end of a stream nothing
# does, so its last pictures come too early: these are looked at only when others have followed.
LATEST_PICTURES = 4


class LiveClock:
    """Gives every picture a time that increases, from 0 for the first one that asks for it.

    Attributes:
        zero_us: the moment of time 0 on the clock that arrivals are measured with; None before it.
            In the first seconds it may still move to an earlier one.
        latest_us: the time that was given last; below 0 if none was.
    """

    zero_us: int | None
    latest_us: int

    def __init__(self) -> None:
        self.zero_us, self.latest_us = None, -LEAST_STEP_US
        self._zero_is_fixed = False
        self._least = _SlidingMinimum()
        self._latest: deque[tuple[int, int]] = deque()
        self._own_us: int | None = None
        self._since_us: int | None = None
        self._offset_us: int | None = None
        self._offset_at_us = 0  # the own time for which it is

    def restart(self) -> None:
        """The source's clock starts anew: what comes next is placed by its arrival."""
        self._zero_is_fixed = self.zero_us is not None
        self._least = _SlidingMinimum()
        self._latest.clear()
        self._own_us = self._since_us = self._offset_us = None

    def arrived(self, own_us: int, arrived_us: int) -> None:
        """A picture came; its own time is the source's."""
        delay_us = arrived_us - own_us
        if self._own_us is not None and (
            own_us < self._own_us - LEAP_BACK_US or delay_us < self._least.value - LEAP_AHEAD_US
        ):
            self.restart()
        self._own_us = own_us
        if self._since_us is None:
            self._since_us = arrived_us
            self._least.add(delay_us, arrived_us)
        self._latest.append((delay_us, arrived_us))
        if len(self._latest) > LATEST_PICTURES:
            self._least.add(*self._latest.popleft())

    def time_us(self, arrived_us: int) -> int:
        """The time of the picture that `arrived` last; without such a one, by its arrival alone.

        It may lie before the time of an earlier picture, where the source's clock is not to be
        trusted, or a connection begins with what was there before.
        """
        if self.zero_us is None:
            self.zero_us = arrived_us if self._own_us is None else self._own_us + self._least.value
        if self._own_us is None:
            return arrived_us - self.zero_us
        return self._own_us + self._offset(self._own_us, self.zero_us, arrived_us)

    def given(self, time_us: int) -> int:
        """The time with which a picture is given on: later than the one before it."""
        self.latest_us = max(time_us, self.latest_us + LEAST_STEP_US)
        return self.latest_us

    def _offset(self, own_us: int, zero_us: int, arrived_us: int) -> int:
        """What turns the source's times into ours, as it is from now on."""
        wanted_us = self._least.value - zero_us
        offset_us, step_us = self._offset_us, max(0, own_us - self._offset_at_us)
        self._zero_is_fixed = self._zero_is_fixed or arrived_us - zero_us > BEGINNING_US
        if offset_us is None or (self._zero_is_fixed and self._is_settling(arrived_us)):
            offset_us = wanted_us
        elif not self._zero_is_fixed:
            self.zero_us = self._least.value - offset_us
        else:
            offset_us += _slewed(wanted_us - offset_us, step_us)
        self._offset_us, self._offset_at_us = offset_us, own_us
        return offset_us

    def _is_settling(self, arrived_us: int) -> bool:
        return self._since_us is not None and arrived_us - self._since_us < SETTLING_US


class _SlidingMinimum:
    """The least of what was added in the last `WINDOW_S` in which anything was; one for each."""

    def __init__(self) -> None:
        self._least_of_second: deque[tuple[int, int]] = deque(maxlen=WINDOW_S)

    def add(self, value: int, at_us: int) -> None:
        second = at_us // SECOND_US
        least = self._least_of_second
        if least and least[-1][0] == second:
            value = min(value, least.pop()[1])
        least.append((second, value))

    @property
    def value(self) -> int:
        return min(value for _, value in self._least_of_second)


def _slewed(error_us: int, step_us: int) -> int:
    """How much of an error is corrected in a step."""
    if abs(error_us) > MOST_SLEWED_US:
        return error_us
    most_us = step_us // (SLOW_SLEW if abs(error_us) <= SLOW_SLEW_UP_TO_US else FAST_SLEW)
    return max(-most_us, min(error_us, most_us))
