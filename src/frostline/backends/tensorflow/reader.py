"""The reader for TensorFlow: traces a loss into a graph, asks operations for their gradients, translates."""

from __future__ import annotations

from frostline.backends.tensorflow.measure import measure
from frostline.backends.tensorflow.tracing import Recording
from frostline.backends.tensorflow.translation import GraphTranslation
from frostline.errors import text_of
from frostline.graph.reader import Computation, Trace, trace_of_host_read
from frostline.graph.source_lines import users_line_of_error

__all__ = ["measure", "read"]


def read(computation: Computation) -> Trace:
    """Trace a computation and translate it. No variable is written to."""
    recording = Recording(computation)
    try:
        recording.run(computation)
    except (AttributeError, NotImplementedError, TypeError) as error:
        if "symbolic" not in text_of(error).lower():
            raise
        weights = [source.name for source in computation.variables if source.kind == "weight"]
        return trace_of_host_read(
            weights, "numpy", recording.watch.failed_in, users_line_of_error(error), text_of(error)
        )
    translation = GraphTranslation(computation, recording)
    graph = translation.graph()
    watch = recording.watch
    return Trace(
        graph,
        tuple(watch.writes),
        tuple(watch.unknown_layers),
        translation.error(graph),
        tuple(dict.fromkeys(translation.unasked)),
        tuple(dict.fromkeys(recording.answers.branches)),
    )
