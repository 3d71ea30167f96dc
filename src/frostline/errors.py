"""Every exception that Frostline raises on purpose.

FrostlineError
├── PlanError               a plan that cannot mean what it says
│   ├── PlanFileError       the same, with the file and the line
│   ├── SelectorError       a selector that cannot be read
│   └── UnmatchedRuleError  a rule that picks nothing in this model
├── ModelError              a model that is not ready for what was asked
│   ├── UnbuiltModelError
│   ├── UncompiledModelError
│   ├── LayerInCallError    `call` makes layers that the model does not own
│   └── ModelFileError      a model, plan or receipt that could not be loaded or written
├── ParametrizationError    a weight that cannot be split into a frozen base and trained parts as asked
├── DeltaError              a delta that cannot be read, or that does not fit the model
├── GrowingError            a vocabulary that cannot be enlarged as asked
├── OptimizerError          an optimizer that cannot be used with a plan
├── DistributionError       a model on several devices or machines that no answer can be given for
├── TrainingError           training that could not do what the plan says
│   ├── NoGradientError     nothing that should train received a gradient
│   ├── NotFiniteError      the loss is NaN or infinite
│   ├── VerificationError   frozen numbers changed
│   └── ResumeError         a folder whose run cannot be continued by this call
├── RunError                a run that cannot be started or continued
│   ├── RunConfigError      its config cannot mean what it says, with the file and the line
│   ├── DataError           data that cannot be read, or that does not fit the model
│   └── OutputFolderError   its folder is in use, finished, of another run, or cannot be written
├── AuditError              a model and a batch of which nothing can be said
├── LayerError              a layer given what it cannot use
│   └── MatrixFileError     a file of numbers that cannot be read, with the line where there is one
├── MissingBackendError     Keras's backend is not installed; an ImportError, too
├── MissingDataError        the demo's data packages are not installed
└── UnsupportedVersionError something that Frostline reads behind public names is missing
    ├── UnsupportedKerasError   in Keras
    └── UnsupportedBackendError in JAX, PyTorch or TensorFlow
"""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterable

from frostline.render.foreign import visible


class FrostlineError(Exception):
    """Base of all errors raised by Frostline.

    Args:
        what: What happened, as one sentence.
        received: What Frostline was given.
        expected: What it could have used.
        remedy: How to fix it.

    Example:
        >>> print(FrostlineError("No such layer", received="'haed'", remedy="write 'head'"))
        No such layer.
          received: 'haed'
          fix:      write 'head'
    """

    def __init__(
        self,
        what: str,
        *,
        received: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.received = received
        self.expected = expected
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        # Fields hold names and messages as they were given, and may be read as such; a terminal reads these.
        what = _cut(self.what)
        lines = [_field(what if what.endswith((".", "?", ":")) else f"{what}.", 0)]
        parts = (
            ("received: ", self.received),
            ("expected: ", self.expected),
            ("fix:      ", self.remedy),
        )
        for label, text in parts:
            if text:
                lines.append(f"  {label}{_field(_cut(text), 2 + len(label))}")
        return "\n".join(lines)


def _field(text: str, indent: int) -> str:
    """Return a field as it is shown; its further lines stand below the first, where no label can be."""
    first, *others = visible(text).split("\n")
    return "\n".join([first, *(" " * indent + line if line else line for line in others)])


_MOST = 5000
"""Characters of each part of a message: what was received may be a file of one word."""


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}... ({len(text):,} characters)"


class PlanError(FrostlineError):
    """A plan that cannot mean what it says."""


class PlanFileError(PlanError):
    """A plan file that cannot be read; `what` begins with the file and the line."""


class SelectorError(PlanError):
    """A selector that cannot be read."""


class UnmatchedRuleError(PlanError):
    """A rule that picks nothing in this model."""


class ModelError(FrostlineError):
    """A model that is not ready for what was asked of it."""


class UnbuiltModelError(ModelError):
    """A model whose weights do not exist yet."""


class UncompiledModelError(ModelError):
    """A model without an optimizer and a loss."""


class LayerInCallError(ModelError):
    """`call` makes layers that the model does not own, so nothing trains or saves them."""


class ModelFileError(ModelError):
    """A file that could not be loaded or written."""


class ParametrizationError(FrostlineError):
    """A weight that cannot be split into a frozen base and trained parts as asked."""


class DeltaError(FrostlineError):
    """A delta that cannot be read or written, or that does not fit the model."""


class GrowingError(FrostlineError):
    """A vocabulary that cannot be enlarged as asked."""


class OptimizerError(FrostlineError):
    """An optimizer that cannot be used with a plan."""


class DistributionError(FrostlineError):
    """A model on several devices, processes or machines, for which Frostline cannot answer."""


class TrainingError(FrostlineError):
    """Training that could not do what the plan says."""


class NoGradientError(TrainingError):
    """Nothing that the plan trains received a gradient."""


class NotFiniteError(TrainingError):
    """The loss is NaN or infinite."""


class VerificationError(TrainingError):
    """Frozen numbers changed."""


class RunError(FrostlineError):
    """A run that cannot be started or continued."""


class RunConfigError(RunError):
    """A run config that cannot mean what it says; `what` begins with the file and the line."""


class DataError(RunError):
    """Data that cannot be read, or that does not fit the model."""


class OutputFolderError(RunError):
    """An output folder that is in use, finished, of another run, or cannot be written."""


class ResumeError(TrainingError):
    """A folder whose run cannot be continued by this call."""


class AuditError(FrostlineError):
    """A model and a batch of which nothing can be said."""


class LayerError(FrostlineError):
    """A layer of `frostline.layers` given what it cannot use."""


class MatrixFileError(LayerError):
    """A file with a matrix or word vectors that cannot be read; `what` names the file, and the line."""


class MissingBackendError(FrostlineError, ImportError):
    """Keras cannot be imported, since its backend is not installed."""


class MissingDataError(FrostlineError):
    """The demo's model or data is not installed."""


class UnsupportedVersionError(FrostlineError):
    """Something that Frostline reads behind the public names of another library is missing."""


class UnsupportedKerasError(UnsupportedVersionError):
    """An internal of Keras that Frostline relies on is missing in this version."""


class UnsupportedBackendError(UnsupportedVersionError):
    """An internal of JAX, PyTorch or TensorFlow that Frostline relies on is missing in this version."""


def near(word: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """Return up to `most` of the `known` words that look most like `word`, best first."""
    wanted = word.lower()[:_COMPARED]
    by_lower = {name.lower()[:_COMPARED]: name for name in known}
    close = difflib.get_close_matches(wanted, _likely(wanted, list(by_lower)), n=most, cutoff=0.5)
    return [by_lower[name] for name in close]


_COMPARED = 200
"""How much of a word is compared, since that takes the square of its length."""

_MOST_COMPARED = 1000
"""How many words are compared closely; a model may have a hundred thousand names."""


def _likely(word: str, known: list[str]) -> list[str]:
    """Return the words that share most with one, where there are too many to compare each closely."""
    if len(known) <= _MOST_COMPARED:
        return known
    parts = {word[at : at + 3] for at in range(max(1, len(word) - 2))}
    return heapq.nlargest(_MOST_COMPARED, known, key=lambda name: sum(part in name for part in parts))


def text_of(error: BaseException) -> str:
    """Return the text of an error of others, whose own code makes it, and may fail at that."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # it may call sys.exit, too
        return f"(no text: its __str__ raised {type(problem).__name__})"


_STYLED = re.compile(r"\x1b\[[0-9;]*m")
_MET_BY_KERAS = "Exception encountered when calling "


def said(error: BaseException) -> str:
    """Return what an error says, in one line that is never empty; not in which layer Keras met it."""
    lines = [line for one in text_of(error).splitlines() if (line := _STYLED.sub("", one).strip())]
    first = next((line for line in lines if not line.startswith(_MET_BY_KERAS)), lines[0] if lines else "")
    return f"{type(error).__name__}: {first[:300]}" if first else type(error).__name__


def listed(items: Iterable[str], *, most: int = 5) -> str:
    """Return the items as one comma-separated phrase, cut after `most` of them.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    every = list(items)
    if len(every) > most:
        return f"{', '.join(every[:most])} and {len(every) - most} more"
    return ", ".join(every)
