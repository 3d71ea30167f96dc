"""Which weight of one copy of a model is which of another: only numbers that Keras gave are told by order."""

from __future__ import annotations

import pytest

from frostline.model.alignment import Known, align, stem_of_name


def copy(*addresses: str, classes: str = "dense", stems: bool = True) -> dict[str, Known]:
    """Weights of one shape; names of the class `classes` count as made by Keras."""

    def stem(address: str) -> str:
        *layers, name = address.split("/")
        return "/".join([*(stem_of_name(layer, classes) for layer in layers), name])

    return {address: Known((3, 3), stem(address) if stems else None) for address in addresses}


@pytest.mark.parametrize("recorded", [True, False], ids=["stems recorded", "by 0.1"])
@pytest.mark.parametrize(
    ("saved", "present"),
    [
        (["dense/kernel", "dense_1/kernel"], ["dense_4/kernel", "dense_5/kernel"]),
        (["dense_7/kernel", "head/kernel"], ["dense/kernel", "head/kernel"]),
        (["dense_8/kernel", "dense_12/kernel"], ["dense_12/kernel", "dense_13/kernel"]),
        (["tower/dense_3/kernel", "tower/dense/kernel"], ["tower/dense_9/kernel", "tower/dense_8/kernel"]),
        (
            ["forward_dense/kernel", "backward_dense/kernel"],
            ["forward_dense_2/kernel", "backward_dense_2/kernel"],
        ),
    ],
)
def test_numbers_by_keras_are_told_by_order(saved: list[str], present: list[str], recorded: bool) -> None:
    found = align(copy(*saved, stems=recorded), copy(*present))
    assert found.names == dict(zip(saved, present, strict=True))
    differing = {one: other for one, other in zip(saved, present, strict=True) if one != other}
    assert found.by_order == differing
    strict = align(copy(*saved, stems=recorded), copy(*present), strict=True)
    assert strict.names == {address: address for address in saved}
    assert not strict.by_order


@pytest.mark.parametrize("recorded", [True, False], ids=["stems recorded", "by 0.1"])
@pytest.mark.parametrize(
    ("saved", "present"),
    [
        pytest.param(["block_1/k", "block_2/k"], ["block_2/k", "block_3/k"], id="named by their user"),
        pytest.param(["dense/k", "dense_1/k"], ["dense_5/k", "dense_4/k"], id="other order"),
        pytest.param(["dense/k", "dense_1/k"], ["dense/k"], id="fewer"),
        pytest.param(["dense/k", "block_1/k"], ["dense_3/k", "block_2/k"], id="one by Keras, one not"),
        pytest.param(["dense/k"], ["dense_1/other"], id="another weight"),
        pytest.param(["conv/k"], ["dense_2/k"], id="another class"),
        pytest.param(["dense_a/k"], ["dense_2/k"], id="no number"),
        pytest.param(["dense_1/k"], ["tower/dense_1/k"], id="another depth"),
        pytest.param(["dense_1/dense/k"], ["block/dense/k"], id="a layer around it has a name"),
        pytest.param(["stage_1/dense/k"], ["stage_2/dense_4/k"], id="a numbered name around it"),
    ],
)
def test_nothing_else_is(saved: list[str], present: list[str], recorded: bool) -> None:
    found = align(copy(*saved, stems=recorded), copy(*present))
    assert found.names == {address: address for address in saved}
    assert not found.by_order


def test_a_name_that_was_given_is_not_told_by_order_though_it_looks_like_one_of_keras() -> None:
    """Where it was recorded that the class was another one."""
    saved = copy("dense_1/kernel", classes="my_block")
    assert not align(saved, copy("dense_2/kernel")).by_order


def test_other_kinds_are_not_told_by_order() -> None:
    present = {"dense_1/kernel": Known((4, 4), "dense*/kernel")}
    assert not align(copy("dense/kernel"), present).by_order


def test_a_custom_layer_without_its_name_in_the_configuration_is_found_in_a_file() -> None:
    saved, present = copy("block_1/kernel", stems=False), copy("block/kernel", classes="block")
    assert align(saved, present, renamed=True).names == {"block_1/kernel": "block/kernel"}
    given = copy("tower/kernel", classes="block")
    assert not align(copy("block_1/kernel", stems=False), given, renamed=True).by_order


@pytest.mark.parametrize(
    ("name", "automatic", "stem"),
    [
        ("dense", "dense", "dense*"),
        ("dense_12", "dense", "dense*"),
        ("dense_2#2", "dense", "dense*"),
        ("forward_lstm_3", "lstm", "forward_lstm*"),
        ("dense_2_1", "dense", "dense_2_1"),
        ("my_dense", "dense", "my_dense"),
        ("dense_", "dense", "dense_"),
        ("Dense", "dense", "Dense"),
    ],
)
def test_stems(name: str, automatic: str, stem: str) -> None:
    assert stem_of_name(name, automatic) == stem


def test_numbers_of_very_many_digits_are_told_by_order() -> None:
    """Python makes no number of more than 4,300 digits."""
    many = "9" * 5000
    saved, present = copy(f"dense_{many}/kernel", "head/kernel"), copy("dense_4/kernel", "head/kernel")
    assert align(saved, present).names == {
        f"dense_{many}/kernel": "dense_4/kernel",
        "head/kernel": "head/kernel",
    }
