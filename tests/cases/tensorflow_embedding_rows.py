"""Rows looked up in a raw variable: the table trains, what the ids were computed from does not."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"table": "trains", "scores": ("cut", "integer")}
OPERATION = "top_k"


def case():
    table = tf.Variable(tf.ones((5, 2)), name="table")
    scores = tf.Variable(tf.range(5, dtype=tf.float32), name="scores")

    def loss():
        _, ids = tf.math.top_k(scores, 2)  # cut
        return tf.reduce_sum(tf.nn.embedding_lookup(table, ids))

    return loss, [table, scores]
