"""`Watch`: the callback that looks at a training once in a while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from frostline._keras.trainers import reader_of_steps, sync_values
from frostline.diagnostics.finding import Finding
from frostline.diagnostics.thresholds import OUT_SHARE
from frostline.diagnostics.training_course import Course
from frostline.diagnostics.training_look import Batch, Trained, dead_units, look_at_batch, samples_in
from frostline.diagnostics.watched import Interval, Look, Units, Watched
from frostline.errors import TrainingError
from frostline.render.console import wrapped
from frostline.render.foreign import visible
from frostline.training.model_callback import ModelCallback
from frostline.training.random_state import RandomState
from frostline.training.watch.allowance import Allowance
from frostline.training.watch.batches import MORE_SAMPLES, SAMPLES, batch_of
from frostline.training.watch.failures import text_of_failure, warn_of
from frostline.training.watch.interval import Open, interval_of
from frostline.training.watch.moves import Start
from frostline.training.watch.next_step import NextStep, Notes
from frostline.training.watch.optimizing import optimizing, trained_now
from frostline.training.watch.report import columns_of, each_weight, lines_of, logs_of

log = logging.getLogger("frostline")


class Watch(ModelCallback):
    """Watches a training while it runs, and finds what one batch cannot show: the findings `FL6xx`.

    At the end of each epoch, the weights that train are compared with what they were at its beginning, and
    the gradients, the units of the layers and the moving statistics are looked at on a kept batch of the
    training data. Training ends with the very numbers that it would end with otherwise. A look that would
    take more than a share of the training's time is left out, and what was left out is named; one before the
    first step and one at the end are always made. What is compared is kept on the device: room for one more
    copy of what trains.

    Every epoch has `watch/update_ratio` (of the median weight, over the epoch), `watch/gradient_norm` (of all
    weights), `watch/dead_units`, `watch/saturated_units` (shares), `watch/statistics_drift` (standard
    deviations, of the worst layer) and `watch/findings` (how many so far) in its logs: for the history,
    `TensorBoard` and `CSVLogger`, if they stand behind it. The history has `watch/update_ratio/ADDRESS`,
    `watch/size/ADDRESS` and `watch/gradient_norm/ADDRESS` at the end, too. What nobody looked at is NaN.

    Args:
        x: What is trained on, as `fit` gets it, or a sample of it: its first 32 samples are looked at.
            `fl.fit` gives it by itself. Without it, the first batch that training takes is kept on PyTorch
            and JAX; on TensorFlow nobody sees one, and gradients and units are not looked at.
        y: The targets.
        sample_weight: Weights of the samples.
        share: Which share of the training's time looking may take, beside the first look, the last one and a
            quarter of a second.
        each_weight: Whether the logs have the figures of each weight too, for `TensorBoard`. Keras's progress
            bar prints all that is in the logs.

    Raises:
        TrainingError: `share` is no share.

    Example:
        >>> import keras, numpy as np
        >>> from frostline.callbacks import Watch
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="net")
        >>> model.compile(keras.optimizers.SGD(0.01), "mse")
        >>> x, y = np.ones((8, 3)), np.zeros((8, 2))
        >>> watch = Watch(x, y)
        >>> history = model.fit(x, y, callbacks=[watch], verbose=0)
        >>> print(watch)
        net: nothing found in 1 epoch
    """

    def __init__(
        self,
        x: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        share: float = 0.01,
        each_weight: bool = False,
    ) -> None:
        super().__init__()
        self.async_safe = True  # it looks at no step
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise TrainingError(
                "share says which part of the training's time looking may take",
                received=f"share={share!r}",
                expected="a number from 0 to 1",
                remedy="leave it out for 0.01",
            )
        self._share, self._each_weight = share, each_weight
        self._data = (x, y, sample_weight)
        self.expected_epoch: int | None = None
        """The epoch that the run begins with, where that is known: then epochs before it are missed."""
        self._reset()

    def _reset(self) -> None:
        self._allowance = Allowance(self._share)
        self._start: Look | None = None
        self._intervals: list[Interval] = []
        self._course = Course()
        self._not_seen: dict[str, None] = {}
        self._told: set[tuple[str, str]] = set()
        self._open: Open | None = None
        self._ended: Start | None = None
        self._afterwards: Callable[[], dict[str, float]] | None = None
        self._batch: Batch | None = None
        self._step = NextStep()
        self._phase, self._epoch, self._in_epoch = "", 0, False
        self._blind, self._left_out = False, 0

    # What was seen ------------------------------------------------------------------------------------

    @property
    def watched(self) -> Watched:
        """All that was seen so far."""
        name = self.trained_model.name if self.trained_model is not None else ""
        taken = (round(self._allowance.spent, 3), round(self._allowance.elapsed, 3))
        return Watched(name, self._start, tuple(self._intervals), self._named_gaps(), taken)

    def _named_gaps(self) -> tuple[str, ...]:
        gaps = list(self._not_seen)
        if self._left_out:
            share = f"{self._share:.0%}"
            gaps.append(
                f"{self._left_out} of {self._epoch + 1} epochs had no look of their own at gradients and "
                f"units: it would have taken more than {share} of the time"
            )
        return tuple(gaps)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the rules FL6xx find in it, the gravest first; errors stay, with when they were so."""
        return self._course.findings(self.watched)

    def __str__(self) -> str:
        watched, findings = self.watched, self.findings
        epochs = len({one.epoch for one in watched.intervals})
        found = f"{len(findings)} found" if findings else "nothing found"
        head = f"{watched.model}: {found} in {epochs} epoch{'' if epochs == 1 else 's'}"
        return wrapped(visible("\n".join([head, *lines_of(findings, watched)])))

    def take_data(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Take what is trained on, unless there is something already."""
        if self._data[0] is None:
            self._data = (x, y, sample_weight)

    def note(self, gap: str) -> None:
        """Note that something was not seen."""
        self._not_seen[gap] = None

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen, for a checkpoint."""
        return {**self.watched.to_data(), "told": sorted(map(list, self._told))}

    def load_state_dict(self, data: Mapping[str, Any]) -> None:
        """Go on with what was seen before an interruption."""
        seen = Watched.from_data({name: value for name, value in data.items() if name != "told"})
        self._start, self._intervals = seen.start, list(seen.intervals)
        self._course = Course.of(seen)
        self._not_seen = dict.fromkeys((*seen.not_seen, *self._not_seen))
        self._told = {(code, address) for code, address in data["told"]}

    # What Keras calls ---------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Look at the model before its first step."""
        phase = self._phase
        self._reset()
        self._phase = phase
        self._allowance.begin()
        with self._safely("the batch to look at"):
            self._batch = batch_of(self.trained_model, self._data, SAMPLES)
            if self._batch is None and not self._step.shows_batches():
                kind = "no data given to Watch" if self._data[0] is None else type(self._data[0]).__name__
                self.note(f"gradients and units: no batch can be kept of {kind} without taking it away")
        with self._safely("gradients before the first step"):
            if self._batch is not None:
                self._start = self._look(trained_now(self.trained_model), last=False)

    def on_phase_begin(self, phase: Any) -> None:
        """Close what the phase before it did; begin anew where an epoch runs."""
        if self._open is not None:
            with self._safely("the end of a phase"):
                self._close(None, look=False)
        self._phase, self._ended = phase.name, None  # what trains may be another variable now
        if self._in_epoch:
            self._begin(self._epoch, within=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keep the values that the epoch begins with."""
        if self.expected_epoch is not None and not self._intervals and epoch > self.expected_epoch:
            self.note(f"epochs {self.expected_epoch + 1} to {epoch}: the run was not watched then")
        self._epoch, self._in_epoch = epoch, True
        if self._open is None:
            self._begin(epoch, within=False)

    def _begin(self, epoch: int, *, within: bool) -> None:
        with self._safely("the values that an epoch begins with"), self._allowance.spending("copy"):
            trained = trained_now(self.trained_model)
            steps = optimizing(self.trained_model, trained).steps
            self._open = Open(epoch, within, self._phase, trained, Start(trained), steps)
            keep = self._batch is None and self._step.kept is None
            if not self._step.watch(self.trained_model, keep=keep, notes=self._notes(self._open)):
                self._take(self._open.start, None)

    def _take(self, start: Start, values: list[Any] | None) -> None:
        """Copy what trains; compare it with what the interval before began with, and let go of that."""
        if self._ended is not None:
            self._afterwards = self._ended.distances(values)
        self._ended = None
        start.take(values)

    def _notes(self, begun: Open) -> Notes:
        """Return what copies all before the first step, and notes how far two steps move it.

        Of weights that neither stood still in the same phase nor were set back, the steps are not noted.
        """
        before = self._intervals[-1] if self._intervals else None
        addresses = None
        if before is not None and before.phase == begun.phase:
            addresses = {a for a, move in before.moves.items() if move.largest == 0 or move.set_back}
        read = reader_of_steps(self.trained_model, begun.start.variables(addresses))
        read_all = reader_of_steps(self.trained_model, begun.start.variables())

        def take(given: Any) -> None:
            with self._safely("the values that an epoch begins with"), self._allowance.spending("copy"):
                self._take(begun.start, read_all(given))

        def note(moment: str, result: Any) -> None:
            with self._safely("the first steps of an epoch"), self._allowance.spending("step"):
                if addresses != set() and begun.start.is_taken and (values := read(result)) is not None:
                    begun.start.note(moment, addresses, values)

        # On JAX the first of what it is called with is the state that it returns behind its logs.
        return Notes(
            lambda given: take((None, given[0])),
            lambda result: note("stepped", result),
            lambda given: note("resumed", (None, given[0])),
            lambda result: note("again", result),
        )

    def _note_afterwards(self) -> None:
        """Complete the last interval by how far from its beginning all was once the next one began."""
        afterwards, self._afterwards = self._afterwards, None
        if afterwards is None or not self._intervals:
            return
        last, distances = self._intervals[-1], afterwards()
        moves = {a: replace(move, afterwards=distances.get(a)) for a, move in last.moves.items()}
        self._intervals[-1] = replace(last, moves=moves)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look, where time allows, and put what was seen into the logs."""
        self._in_epoch = False
        last = epoch + 1 >= (self.params or {}).get("epochs", 0)
        interval = None
        if self._open is not None and (last or self._allowance.allows("compare", "copy")):
            with self._safely("the end of an epoch"):
                interval = self._close(logs, look=last or self._allowance.allows("look"), last=last)
        if interval is None or (interval.look is None and self._can_look):
            self._left_out += 1
        with self._allowance.spending("rules"):
            findings = self.findings
        # The others may pass: statistics, for one, need their time.
        self._tell(tuple(one for one in findings if one.severity == "error"))
        if logs is not None:
            logs.update(logs_of(interval, len(findings)))
            if self._each_weight:
                logs.update(each_weight(interval, self._addresses()))

    def _addresses(self) -> list[str]:
        return list(dict.fromkeys(a for one in self._intervals for a in one.moves))

    def on_train_end(self, logs: Any = None) -> None:
        """Look where the last epoch had no look, and give the history the figures of each weight."""
        self._step.end()
        with self._safely("the end of the training"):
            if self._open is not None:
                self._close(None, look=True, last=True)
            elif self._intervals and self._intervals[-1].look is None and self._can_look:
                look = self._look(trained_now(self.trained_model), last=True)
                self._intervals[-1] = replace(self._intervals[-1], look=look)
                self._left_out = max(self._left_out - 1, 0)
            if self._ended is not None:
                self._afterwards = self._ended.distances()
            self._note_afterwards()
        self._tell(self.findings)
        self._open = None
        history = getattr(self.trained_model, "history", None)
        if history is not None:
            history.history.update(columns_of(self.watched, history.epoch))

    # How it looks -------------------------------------------------------------------------------------

    @property
    def _can_look(self) -> bool:
        return not self._blind and (self._batch is not None or self._step.kept is not None)

    def _close(self, logs: Any, *, look: bool, last: bool = False) -> Interval | None:
        """End the interval that is open, and return what was seen of it; None where it has no step."""
        begun, self._open = self._open, None
        assert begun is not None
        model = self.trained_model
        sync_values(model)
        with self._allowance.spending("compare"):
            now = optimizing(model, begun.trained)
            steps = None if now.steps is None or begun.steps is None else now.steps - begun.steps
            if begun.within and steps == 0:
                return None
            if not begun.start.is_taken:
                self._take(begun.start, None)  # no step was made
            moves = begun.start.moves()
            self._note_afterwards()
        self._batch = self._batch or self._step.kept
        seen = self._look(begun.trained, last=last) if look and self._can_look else None
        interval = interval_of(self._epoch, begun, now, steps, moves, seen, logs)
        self._intervals.append(interval)
        self._ended = begun.start
        return interval

    def _look(self, trained: Trained, *, last: bool) -> Look:
        assert self._batch is not None
        forced = last or self._start is None
        with self._allowance.spending("look", forced=forced):
            look = look_at_batch(self.trained_model, self._batch, trained)
        if look.unseen:
            self._blind = not look.gradients
            for gap in look.unseen:
                if gap not in self._not_seen:
                    self.note(gap)
                    warn_of(gap)
        return self._confirmed(look, trained) if last else look

    def _confirmed(self, look: Look, trained: Trained) -> Look:
        """Look at units that seem dead on more samples: what one in a hundred switches on is alive."""
        few = {a: u for a, u in look.dead.items() if 0 < u.share < OUT_SHARE}
        more = batch_of(self.trained_model, self._data, MORE_SAMPLES) if few else None
        if more is None:
            return look
        times = -(-samples_in(more[0]) // SAMPLES)
        if not self._allowance.allows(*["look"] * times):
            self.note("single units that seem dead: there was no time to look at more samples")
            return look
        with self._allowance.spending("more samples"):
            seen = dead_units(self.trained_model, more, trained)
        dead = {a: _both(units, seen.get(a)) if a in few else units for a, units in look.dead.items()}
        return replace(look, dead=dead, confirmed=True)

    def _tell(self, findings: tuple[Finding, ...]) -> None:
        """Log each finding once, when it is first made."""
        for one in findings:
            if (one.code, one.address) not in self._told:
                self._told.add((one.code, one.address))
                log.warning("%s", visible(next(lines_of((one,), None))))

    @contextmanager
    def _safely(self, what: str) -> Iterator[None]:
        """Leave the random state as it is, and go on where something fails: it is warned of, and noted."""
        state = RandomState.now()
        try:
            yield
        except Exception as error:
            # A training must not end for the sake of a look at it.
            gap = f"{what}: {text_of_failure(error)}"
            if gap not in self._not_seen:
                self.note(gap)
                warn_of(gap)
        finally:
            state.restore()


def _both(units: Units, more: Units | None) -> Units:
    return (
        units
        if more is None
        else Units(units.count, tuple(n for n in units.out if n in more.out), units.weak)
    )
