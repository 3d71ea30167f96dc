"""What was seen of a training while it ran: the record that training rules read, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a layer, or of the last axis of a weight, of which some are out of use.

    Attributes:
        count: How many there are.
        out: Which of them are, from 0.
        weak: Which of the others are hardly in use: few samples switch them on.
    """

    count: int
    out: tuple[int, ...] = ()
    weak: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """Which share of them is."""
        return len(self.out) / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the statistics of a layer are from those of a batch.

    Attributes:
        mean: By how many standard deviations of the batch the moving mean is off, of the median unit.
        variance: How many times larger or smaller than that of the batch the moving variance is, of the
            median unit; at least 1.
    """

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a kept batch: the loss of the data, its gradients, and the units of layers.

    Attributes:
        samples: How many samples were looked at.
        loss: The loss, penalties left out.
        gradients: The Euclidean norm of the gradient of what trains, by address.
        steps: How far a first step of the optimizer would move each, in root mean square, by address.
        dead: Units of each weight that get no gradient from any sample, by address.
        saturated: Units of each layer whose output lies at a bound of its activation for every sample.
        drift: Of each layer with moving statistics that are to move.
        confirmed: Whether units that are called dead were looked at on more samples.
        unseen: What could not be looked at, and why.
    """

    samples: int
    loss: float = math.nan
    gradients: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    dead: Mapping[str, Units] = field(default_factory=dict)
    saturated: Mapping[str, Units] = field(default_factory=dict)
    drift: Mapping[str, Drift] = field(default_factory=dict)
    confirmed: bool = False
    unseen: tuple[str, ...] = ()

    @property
    def gradient_norm(self) -> float:
        """The norm of all gradients together; not a number where none was computed."""
        return math.hypot(*self.gradients.values()) if self.gradients else math.nan

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Look:
        """Make one from plain data, the reverse of `dataclasses.asdict`."""
        nested: dict[str, Any] = {
            name: {address: _units(one) for address, one in data[name].items()}
            for name in ("dead", "saturated")
        }
        nested["drift"] = {address: Drift(**one) for address, one in data["drift"].items()}
        return cls(**{**data, **nested, "unseen": tuple(data["unseen"])})


def _units(data: Mapping[str, Any]) -> Units:
    return Units(int(data["count"]), tuple(data["out"]), tuple(data["weak"]))


@dataclass(frozen=True, slots=True)
class Move:
    """How one weight, or the part of it that trains, moved in an interval.

    Attributes:
        before: The root mean square of its numbers when the interval began.
        size: The same at its end.
        update: The root mean square of the difference.
        largest: The largest number of the difference: 0 where not one bit moved.
        stepped: The largest number of the difference after the first step; None where nobody looked. Steps
            of one size may add up to nothing over an epoch.
        resumed: The same when the second step began; None where there was none.
        again: The same after the second step.
        afterwards: The same when the next epoch began, or the training was over; None where nobody looked.
    """

    before: float
    size: float
    update: float
    largest: float
    stepped: float | None = None
    resumed: float | None = None
    again: float | None = None
    afterwards: float | None = None

    @property
    def stood_still(self) -> bool:
        """Whether not one bit of it moved, neither in the first step nor over all of them."""
        return self.largest == 0 and self.stepped == 0

    @property
    def set_back(self) -> bool:
        """Whether a step moved it, and something put every bit of it back before the next step."""
        if self.resumed is None:
            return self.largest == 0 and bool(self.stepped)
        return self.resumed == 0 and bool(self.stepped)

    @property
    def came_back(self) -> bool:
        """Whether steps moved it, and it has the very bits again that the interval began with.

        Steps of one size that go to and fro are no sign of anything: after two of them it is back, too.
        """
        if self.largest > 0:
            return self.afterwards == 0
        return bool(self.stepped) and self.again != 0

    @property
    def ratio(self) -> float:
        """The update relative to the weight; of one that began at zero, relative to what it came to."""
        return self.update / (self.before or self.size or math.inf)


@dataclass(frozen=True, slots=True)
class Interval:
    """What was seen over one epoch, or over several where time did not allow more.

    Attributes:
        epoch: The index of the epoch that it ends with, from 0.
        first: The index of the epoch that it begins with.
        phase: The name of the phase; empty without a schedule.
        steps: How many updates the optimizer counted; None where that is not known.
        rate: The learning rate at its end; None where that is not known.
        loss: What training reported as its loss; None where it reported none.
        moves: How each weight that is to train moved, by address.
        look: The look at its end; None where there was none.
        strangers: What the optimizer holds that is not the model's, by path and shape.
        lacking: Addresses of what is to train and the optimizer does not hold.
        may_wait: Why the optimizer may rightly have updated nothing: it sums up gradients, or leaves out
            steps that overflow; else empty.
    """

    epoch: int
    first: int
    phase: str = ""
    steps: int | None = None
    rate: float | None = None
    loss: float | None = None
    moves: Mapping[str, Move] = field(default_factory=dict)
    look: Look | None = None
    strangers: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    may_wait: str = ""

    @property
    def when(self) -> str:
        """The epochs in words, counted from 1 as Keras prints them."""
        first, last = self.first + 1, self.epoch + 1
        return f"epoch {last}" if first == last else f"epochs {first} to {last}"

    @property
    def steps_are_idle(self) -> bool:
        """Whether nothing was to move: no update, a rate of 0, or gradients that still wait."""
        idle = self.steps == 0 and bool(self.may_wait)
        return idle or self.rate == 0

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Interval:
        """Make one from plain data, the reverse of `dataclasses.asdict`."""
        more = {
            "moves": {address: Move(**one) for address, one in data["moves"].items()},
            "look": None if data["look"] is None else Look.from_data(data["look"]),
            "strangers": tuple(data["strangers"]),
            "lacking": tuple(data["lacking"]),
        }
        return cls(**{**data, **more})


@dataclass(frozen=True, slots=True)
class Watched:
    """All that was seen of a training.

    Attributes:
        model: The name of the model.
        start: The look before the first step; None where there was none.
        intervals: What was seen since, in order.
        not_seen: What was not looked at, and why.
        seconds: How long looking took, and how long the training, looks included.
    """

    model: str = ""
    start: Look | None = None
    intervals: tuple[Interval, ...] = ()
    not_seen: tuple[str, ...] = ()
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def last(self) -> Interval | None:
        """The last interval; None where there is none."""
        return self.intervals[-1] if self.intervals else None

    @property
    def looks(self) -> tuple[Look, ...]:
        """All looks, in order."""
        return tuple(look for look in (self.start, *(i.look for i in self.intervals)) if look is not None)

    @property
    def of_last_phase(self) -> tuple[Interval, ...]:
        """The intervals of the last phase: what trains is the same in all of them."""
        if self.last is None:
            return ()
        return tuple(one for one in self.intervals if one.phase == self.last.phase)

    @property
    def judged(self) -> frozenset[str]:
        """Addresses that the last interval says something of; the model itself is among them."""
        if self.last is None:
            return frozenset()
        look = self.last.look or Look(0)
        return frozenset(("", *self.last.moves, *look.saturated, *look.drift))

    def up_to_each_phase(self) -> Iterator[Watched]:
        """Yield what was seen up to the end of each phase."""
        for place, one in enumerate(self.intervals, start=1):
            if place == len(self.intervals) or self.intervals[place].phase != one.phase:
                yield replace(self, intervals=self.intervals[:place])

    def moves_of(self, address: str) -> Iterator[tuple[Interval, Move]]:
        """Yield how a weight moved in each interval in which it was to train."""
        return ((one, one.moves[address]) for one in self.intervals if address in one.moves)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Watched:
        """Make it from plain data, the reverse of `to_data`."""
        start = None if data["start"] is None else Look.from_data(data["start"])
        intervals = tuple(Interval.from_data(one) for one in data["intervals"])
        seconds = (float(data["seconds"][0]), float(data["seconds"][1]))
        return cls(data["model"], start, intervals, tuple(data["not_seen"]), seconds)
