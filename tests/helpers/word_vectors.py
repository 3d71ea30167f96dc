"""A small file of word vectors, and the table that it holds."""

from __future__ import annotations

import numpy as np

WORDS = "the 0.5 1.0 -1.5\nsea 0.0 -2.0 1e-3\n. . . 1 2 3\n\u00a0 4 5 6\n"
TABLE = np.array([[0.5, 1.0, -1.5], [0.0, -2.0, 1e-3], [1, 2, 3], [4, 5, 6]], "float32")
