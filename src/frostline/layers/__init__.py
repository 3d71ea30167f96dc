"""Ready layers that mix fixed and trained parts.

Each is a registered, serializable Keras layer. Importing this package imports Keras and registers them, so
that `keras.models.load_model` finds them; `import frostline` alone does neither.

A value that a layer holds fixed is a variable of it, made as not trainable: it travels in the weights file,
no plan trains it, and `fl.verify` counts it as broken if it moves. It is not in the layer's configuration. A
layer made from a configuration alone therefore holds NaN, until weights are loaded or set: a value that is
missing is seen at the first output.

Example:
    >>> import keras
    >>> import frostline as fl
    >>> layer = fl.layers.FixedBiasDense(2, bias=[1.0, -1.0])
    >>> layer.build((None, 3))
    >>> [v.name for v in layer.trainable_variables], [v.name for v in layer.non_trainable_variables]
    (['kernel'], ['bias'])
"""

from frostline.layers.fixed_bias_dense import FixedBiasDense
from frostline.layers.fixed_transform import FixedTransform
from frostline.layers.frozen_statistics import FrozenStatistics
from frostline.layers.gradient_scale import GradientScale
from frostline.layers.hybrid import Hybrid
from frostline.layers.pretrained_embedding import PretrainedEmbedding
from frostline.layers.stop_gradient import StopGradient
from frostline.layers.straight_through import StraightThrough
from frostline.layers.trainable_tensor import TrainableTensor
from frostline.layers.word_vectors import WordVectors, read_word_vectors

__all__ = [
    "FixedBiasDense",
    "FixedTransform",
    "FrozenStatistics",
    "GradientScale",
    "Hybrid",
    "PretrainedEmbedding",
    "StopGradient",
    "StraightThrough",
    "TrainableTensor",
    "WordVectors",
    "read_word_vectors",
]
