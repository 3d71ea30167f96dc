"""The figures that findings go by, each with its source."""

from __future__ import annotations

VANISHING = 1e4
"""By how much gradients may differ between the first kernels and the last ones, in root mean square. Sound
initializations keep the variance of gradients alike from layer to layer (Glorot and Bengio, 2010, section
4.2; He and others, 2015, arXiv:1502.01852); what is found is far beyond what chance does to them."""

FEWEST_KERNELS = 5
"""From so many kernels on, depth can be to blame for that."""

LEAST_UPDATE = 1e-6
"""What the first step should move a weight by at least, relative to it, in root mean square. About 1e-3 is
usual (Karpathy, CS231n, Neural Networks 3, "Ratio of weights:updates"); below 6e-8 a step in float32 is lost
in rounding, for every element; with 1e-6 it takes a million steps to change a weight."""

ROUNDING = 1e-5
"""A gradient so many times smaller than that of another weight of its layer is what rounding in float32 (6e-8
for one operation) leaves of one that is zero in exact arithmetic, over some hundred terms."""

DEAD_SHARE = 0.8
"""From which share of dead units on a layer is found. That some are off on one batch is usual: of rectified
linear units about half are, for each sample (Glorot, Bordes and Bengio, 2011)."""

FEWEST_SAMPLES = 8
"""From so many samples on: with n of them, one in 2 ** n units is off for all by chance."""
