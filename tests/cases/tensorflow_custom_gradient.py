"""`tf.custom_gradient`: zeros, nothing, zeros by a factor, and a straight-through estimator."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {
    "zeros": ("cut", "zero_gradient"),
    "nothing": ("cut", "zero_gradient"),
    "factor": ("cut", "zero_gradient"),
    "through": "trains",
    "half": "trains",
    "other_half": ("cut", "zero_gradient"),
}
OPERATION = "custom_gradient"


@tf.custom_gradient
def gives_zeros(x):
    return x * 2.0, tf.zeros_like


@tf.custom_gradient
def gives_nothing(x):
    return x * 2.0, lambda upstream: None


@tf.custom_gradient
def gives_a_multiple_of_zero(x):
    return x * 2.0, lambda upstream: upstream * 0.0


@tf.custom_gradient
def straight_through(x):
    return tf.round(x), tf.identity


@tf.custom_gradient
def first_only(x, y):
    return x * y, lambda upstream: (upstream, tf.zeros_like(y))


def case():
    variables = [tf.Variable(tf.ones(3), name=name) for name in EXPECT]
    zeros, nothing, factor, through, half, other_half = variables

    def loss():
        total = gives_zeros(zeros)  # cut zeros
        total += gives_nothing(nothing)  # cut nothing
        total += gives_a_multiple_of_zero(factor)  # cut factor
        total += straight_through(through)
        total += first_only(half, other_half)  # cut other_half
        return tf.reduce_sum(total)

    return loss, variables
