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

USUAL_UPDATE = 1e-3
"""What a step usually moves a weight by, relative to it, by the same source: what a rate that is too small is
set to."""

LOW_RATE = 1e-3
"""From what share of the rate that an optimizer of its class has by itself a rate is too small. Fine-tuning
takes a hundredth of it and less; a thousandth of SGD's or Adam's is below what anybody tunes."""

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

# What watching a training goes by --------------------------------------------------------------------

OUT_SHARE = 0.5
"""From which share of units that went out of use while a layer trained on, and none before, it is warned of;
fewer are a note. Large gradients may switch off some ten percent of a network for good, "40%" of it where the
rate is too high (Karpathy, CS231n, Neural Networks 1, "ReLU"); half is beyond that."""

WEAK = 0.2
"""Which part of the median unit's gradient that of a unit is, below which it is hardly in use: that few
samples switch on such a unit, and then none, is the way of sparse networks (Glorot, Bordes and Bengio, 2011),
and no finding of its own."""

BOUND = 0.01
"""How near to a bound of its activation an output is called saturated, as a part of the range: within 1 %,
where the derivative of a sigmoid is below a twenty-fifth of its largest (0.0099 of 0.25; Glorot and Bengio,
2010, section 3, watch such activations by layer)."""

EXPLODED = 1e3
"""By how much the norm of all gradients may grow over a training. Clipping is advised from ten times the
usual norm (Pascanu, Mikolov and Bengio, 2013, arXiv:1211.5063, section 3.2: half to ten times the average);
this is a hundred times that."""

LOSS_GREW = 10.0
"""How many times larger than it was a loss is said to grow without bound: the square of 3, as `OVERSHOOT`."""

GROWTH = 100.0
"""How many times larger than at its start a weight is, from which on it may be said to grow without bound;
sound training leaves weights near where they began (Lee and others, 2019, arXiv:1902.06720: the change is
small beside the weight), and decay holds the rest."""

EACH_GROWTH = 1.5
"""By which factor it must have grown in each of the last intervals for that: growth by a factor at each is
that of a step that overshoots (see `OVERSHOOT`), where one by a summand is that of Adam on its way."""

SOLVED = 1e-6
"""Which part of its first value a loss is, from which on a problem counts as solved: gradients of zero are
then as they should be."""

DRIFT_MEAN = 1.0
"""By how many standard deviations a moving mean may be off. A mean of 32 samples is off by 0.18 by chance
(one over the root of 32), so that the median unit is at 1 by more than chance."""

DRIFT_VARIANCE = 4.0
"""How many times too large or too small a moving variance may be; at 4 every output of the layer is twice or
half of what it was in training. The variance of 32 samples is off by a factor of 1.3 by chance (the root of
2 / 31)."""

FEWEST_FOR_STATISTICS = 16
"""From so many samples on the statistics of a batch are compared; those of fewer are chance."""
