"""How many constants and carried values a scan of JAX has, in both ways that JAX has written that down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import keras
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX")


class Tree:
    """As much of JAX's `FlatTree` as is read, which JAX 0.10 does not have."""

    def __init__(self, *groups: Iterable[object]) -> None:
        self._groups = [list(group) for group in groups]

    def update(self, leaves: Iterable[object]) -> Tree:
        given = iter(leaves)
        return Tree(*([next(given) for _ in group] for group in self._groups))

    def unpack(self) -> Iterator[list[object]]:
        return iter(self._groups)


class Equation:
    primitive = SimpleNamespace(name="scan")

    def __init__(self, count: int, **params: Any) -> None:
        self.invars, self.params = [object()] * count, params


@pytest.mark.parametrize(("consts", "carries", "rest"), [(1, 2, 1), (0, 1, 0), (3, 0, 2), (0, 0, 0)])
def test_both_forms(consts: int, carries: int, rest: int) -> None:
    from frostline.backends.jax.internals import scan_counts

    new = Equation(consts + carries + rest, ft_in=Tree([None] * consts, [None] * carries, [None] * rest))
    old = Equation(consts + carries + rest, num_consts=consts, num_carry=carries)
    assert scan_counts(new) == scan_counts(old) == (consts, carries)  # type: ignore[arg-type]


@pytest.mark.every_backend
def test_the_form_of_this_version() -> None:
    import jax

    from frostline.backends.jax.internals import scan_counts

    def summed(weight: Any, rows: Any) -> Any:
        return jax.lax.scan(lambda held, row: ((held[0] * weight + row, held[1]), held[1]), (0.0, 1), rows)

    jaxpr = jax.make_jaxpr(summed)(2.0, jax.numpy.ones(3))
    (scan,) = (equation for equation in jaxpr.eqns if equation.primitive.name == "scan")
    consts, carries = scan_counts(scan)
    assert carries >= 1
    assert consts + carries + 1 == len(scan.invars)
