"""Every private name of Keras that Frostline relies on, one small function each.

`methods.TRIED_ON` names the versions that were tried, and `tests/each_backend/_keras` fails when a name goes.
Nothing else in Frostline may touch an attribute of Keras that begins with an underscore.
"""
