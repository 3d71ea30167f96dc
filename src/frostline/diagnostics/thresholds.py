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

OVERSHOOT = 9.0
"""How many times larger each of two steps makes the loss, from which on training is said to run away. A step
of rate r along curvature c multiplies a quadratic loss by (r c - 1) ** 2; networks come back from steps up
to about r = 4 / c (Lewkowycz and others, 2020, arXiv:2003.02218), which makes it 9."""

FAR_OFF = 10.0
"""How many times the loss of guessing that of a classifier is, from which on its start is said to be far off.
A sound one begins at about the loss of guessing (Karpathy, A Recipe for Training Neural Networks, 2019,
"verify loss @ init")."""

OUTWEIGHED = 10.0
"""How many times larger than what the data give what penalties add is, to the loss and to gradients, from
which on they are said to outweigh it. Under L2 a weight comes to rest where both gradients are equal
(Goodfellow and others, Deep Learning, 2016, section 7.1.1), then at a tenth of where it began, or less."""

DEAD_SHARE = 0.8
"""From which share of dead units on a layer is found. That some are off on one batch is usual: of rectified
linear units about half are, for each sample (Glorot, Bordes and Bengio, 2011)."""

FEWEST_SAMPLES = 8
"""From so many samples on: with n of them, one in 2 ** n units is off for all by chance."""
