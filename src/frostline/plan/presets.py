"""Plans for common ways of fine-tuning, as functions. Each returns plain rules that print as such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from frostline.errors import PlanError
from frostline.model.inventory import inventory
from frostline.parametrization.adapters import LowRank
from frostline.plan.blocks import find_blocks, require_blocks
from frostline.plan.phase import Phase
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.plan.selectors import HeadOfModel


def linear_probe(head: str = "head") -> Plan:
    """Train the head alone, on features of a frozen network.

    Args:
        head: Selector of the head; by default what the model shows to be its head.

    Source:
        Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.

    Example:
        >>> print(linear_probe())
        default: freeze
        1. train 'head'
    """
    return Plan().train(head)


def bitfit(head: str = "head") -> Plan:
    """Train every bias, the shift of normalizations included, and the head.

    Args:
        head: Selector of the head; by default what the model shows to be its head.

    Source:
        Ben Zaken, Ravfogel and Goldberg, "BitFit", ACL 2022.

    Example:
        >>> print(bitfit())
        default: freeze
        1. train '**/{bias,beta}'
        2. train 'head' (optional)
    """
    return _with_head(Plan().train("**/{bias,beta}"), head)


def lora(
    rank: int = 8,
    alpha: float | None = 16,
    *,
    target: str = "attention",
    head: str = "head",
) -> Plan:
    """Train weights through updates of low rank, and the head as a whole.

    The weights themselves stay as they are until the updates are merged, by `undo`, `frostline.merge` or
    saving. By default those that make queries, keys and values in attention are adapted, as their layers'
    classes, names and attributes tell them.

    Args:
        rank: The rank of each update.
        alpha: Each update is scaled by `alpha / rank`; None stands for the rank itself.
        target: Selector of the weights, each with two axes or more.
        head: Selector of the head; by default what the model shows to be its head.

    Source:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    Example:
        >>> print(lora(rank=4, target="encoder/**/kernel"))
        default: freeze
        1. train 'encoder/**/kernel' (via rank 4, alpha 16)
        2. train 'head' (optional)
    """
    return _with_head(Plan().train(target, via=LowRank(rank, alpha)), head)


def last_blocks(
    model: Any, count: int, *, blocks: str | None = None, head: str = "head", lr: float = 1.0
) -> Plan:
    """Train the last blocks of a network and its head.

    Args:
        model: The model, whose blocks are looked up by the names of its layers.
        count: How many blocks, counted from the output.
        blocks: Glob on layer addresses that picks the blocks, such as `encoder/block_*`. By default, layers
            whose names number a block, layer or stage (`block_3`, `conv5_block2_1_conv`, `block6a_...`).
        head: Selector of the head; by default what the model shows to be its head.
        lr: Multiplier of the learning rate for the blocks; the head keeps the full rate.

    Raises:
        PlanError: The model has no such blocks, or fewer than asked for.

    Example:
        >>> import keras
        >>> names = ("block_0", "block_1", "head")
        >>> layers = [keras.layers.Dense(2, name=name) for name in names]
        >>> print(last_blocks(keras.Sequential([keras.Input((2,)), *layers]), 1))
        default: freeze
        1. train 'block_1/**'
        2. train 'head' (optional)
    """
    model_inventory = inventory(model)
    found = find_blocks(model_inventory, blocks)
    if not isinstance(count, int) or not 1 <= count <= len(found):
        raise PlanError(
            f"cannot train the last {count} blocks of the model {model_inventory.model_name!r}",
            received=f"{len(found)} blocks found: {', '.join(found) or 'none'}",
            expected="a whole number from 1 to the number of blocks",
            remedy=None if found else "say which layers are blocks: blocks='encoder/block_*'",
        )
    plan = Plan()
    for glob in found[-count:]:
        plan = plan.train(glob, lr=lr)
    return _with_head(plan, head)


def layerwise_lr_decay(
    model: Any,
    decay: float = 0.75,
    *,
    blocks: str | None = None,
    head: str = "head",
    min_scale: float = 0.0,
) -> Plan:
    """Train everything, the learning rate falling by a factor from block to block towards the input.

    With L groups (all before the blocks, each block, the head) the multiplier of group i, counted from the
    input, is `max(min_scale, decay ** (L - 1 - i))`, as in timm.

    Args:
        model: The model, whose blocks are looked up as `last_blocks` does.
        decay: The factor, above 0 and at most 1.
        blocks: Glob on layer addresses that picks the blocks.
        head: Selector of the head.
        min_scale: The least multiplier.

    Raises:
        PlanError: The model has no such blocks, or a factor is out of range.

    Source:
        Clark et al., "ELECTRA", ICLR 2020; Bao et al., "BEiT", ICLR 2022.

    Example:
        >>> import keras
        >>> names = ("embed", "block_0", "block_1", "head")
        >>> layers = [keras.layers.Dense(2, name=name) for name in names]
        >>> print(layerwise_lr_decay(keras.Sequential([keras.Input((2,)), *layers]), 0.5))
        default: freeze
        1. train '**' (lr x 0.125)
        2. train 'block_0/**' (lr x 0.25)
        3. train 'block_1/**' (lr x 0.5)
        4. train 'head' (optional)
    """
    if not 0 < decay <= 1 or not 0 <= min_scale <= 1:
        raise PlanError(
            "the factor of a layer-wise decay is out of range",
            received=f"decay={decay!r}, min_scale={min_scale!r}",
            expected="decay above 0 and at most 1, min_scale from 0 to 1",
        )
    groups = ["**", *require_blocks(inventory(model), blocks)]
    plan = Plan()
    for place, group in enumerate(groups):
        plan = plan.train(group, lr=max(min_scale, decay ** (len(groups) - place)))
    return _with_head(plan, head)


def discriminative(
    model: Any, lowest: float = 0.01, *, blocks: str | None = None, head: str = "head"
) -> Plan:
    """Train everything, with learning rates spread evenly by factors from the input to the head.

    Args:
        model: The model, whose blocks are looked up as `last_blocks` does.
        lowest: Multiplier of all before the first block, above 0 and at most 1; the head's is 1.
        blocks: Glob on layer addresses that picks the blocks.
        head: Selector of the head.

    Raises:
        PlanError: The model has no such blocks, or `lowest` is out of range.

    Source:
        Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018.

    Example:
        >>> import keras
        >>> layers = [keras.layers.Dense(2, name=name) for name in ("embed", "block_0", "head")]
        >>> print(discriminative(keras.Sequential([keras.Input((2,)), *layers]), 0.01))
        default: freeze
        1. train '**' (lr x 0.01)
        2. train 'block_0/**' (lr x 0.1)
        3. train 'head' (optional)
    """
    if not 0 < lowest <= 1:
        raise PlanError(
            "the lowest rate is out of range", received=repr(lowest), expected="above 0 and at most 1"
        )
    groups = ["**", *require_blocks(inventory(model), blocks)]
    plan = Plan()
    for place, group in enumerate(groups):
        plan = plan.train(group, lr=lowest ** (1 - place / len(groups)))
    return _with_head(plan, head)


def lp_ft(*, probe: int = 1, finetune: int = 1, lr: float = 0.1, head: str = "head") -> Schedule:
    """Train the head first, then everything (linear probing, then fine-tuning).

    Args:
        probe: Epochs for the head alone.
        finetune: Epochs for everything.
        lr: Multiplier of all learning rates while fine-tuning.
        head: Selector of the head.

    Source:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
        ICLR 2022.

    Example:
        >>> print(lp_ft(probe=3, finetune=5))
        default: freeze
        1. train 'head'
        phase probe: 3 epochs
        phase finetune: 5 epochs, lr x 0.1; train '**'
    """
    phases = (Phase("probe", epochs=probe), Phase("finetune", epochs=finetune, lr=lr).train("**"))
    return Schedule(Plan().train(head), phases)


def gradual_unfreezing(
    model: Any, *, epochs: int = 1, blocks: str | None = None, head: str = "head"
) -> Schedule:
    """Train the head, then one block more in each phase, from the output to the input, at last everything.

    Args:
        model: The model, whose blocks are looked up as `last_blocks` does.
        epochs: Epochs of each phase.
        blocks: Glob on layer addresses that picks the blocks.
        head: Selector of the head.

    Raises:
        PlanError: The model has no such blocks.

    Source:
        Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018.

    Example:
        >>> import keras
        >>> layers = [keras.layers.Dense(2, name=name) for name in ("block_0", "block_1", "head")]
        >>> print(gradual_unfreezing(keras.Sequential([keras.Input((2,)), *layers])))
        default: freeze
        1. train 'head'
        phase head: 1 epoch
        phase last 1 block: 1 epoch; train 'block_1/**'
        phase last 2 blocks: 1 epoch; train 'block_1/**'; train 'block_0/**'
        phase everything: 1 epoch; train '**'
    """
    phases = [Phase("head", epochs=epochs)]
    rising = phases[0]
    for number, glob in enumerate(reversed(require_blocks(inventory(model), blocks)), 1):
        rising = rising.train(glob)
        phases.append(replace(rising, name=f"last {number} block{'s' if number > 1 else ''}"))
    phases.append(Phase("everything", epochs=epochs).train("**"))
    return Schedule(Plan().train(head), tuple(phases))


def _with_head(plan: Plan, head: str) -> Plan:
    """Train the head, too. A model need not have one of its own: many a language model's is its embedding."""
    return plan.train(head, optional=head == HeadOfModel.WORD)
