"""Models on several devices, processes and machines: refused by name, before anything is changed.

One process sees its own numbers. What it says of frozen and trained weights would hold for itself alone, and
the others may differ.
"""

from __future__ import annotations

from typing import Any

from frostline.backends import dispatch
from frostline.errors import DistributionError

_DOING = {
    "fit": "cannot be trained by frostline.fit",
    "schedule": "cannot be trained by a schedule, or with multipliers of the learning rate",
    "apply": "cannot be put under a plan",
    "unfreeze": "cannot train more than before",
    "verify": "cannot be verified",
    "fingerprint": "cannot be read whole",
}


def require_one_machine(model: Any, *verbs: str) -> None:
    """Refuse a model that is spread in a way for which the verbs cannot answer.

    Args:
        model: The model, or what is wrapped around it.
        *verbs: What is about to be done: `fit`, `schedule`, `apply`, `unfreeze`, `verify`, `fingerprint`.

    Raises:
        DistributionError: With what was found, and what to do instead.
    """
    for spread in dispatch.machines().spread(model):
        for verb in verbs:
            if verb in spread.refuses:
                name = getattr(model, "name", None) or type(model).__name__
                raise DistributionError(
                    f"the model {name!r} {spread.what}, so it {_DOING[verb]}",
                    received=spread.received,
                    expected="a model whose numbers this process alone holds and changes",
                    remedy=spread.remedy,
                )
