"""An operation for which TensorFlow knows no gradient: asked for one, it raises."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"picture": ("cut", "unregistered"), "scale": "trains"}
OPERATION = "resize_area"
RAISES = True


def case():
    picture = tf.Variable(tf.ones((1, 4, 4, 1)), name="picture")
    scale = tf.Variable(2.0, name="scale")

    def loss():
        small = tf.image.resize(picture, (2, 2), method="area")  # cut
        return tf.reduce_mean(small) * scale

    return loss, [picture, scale]
