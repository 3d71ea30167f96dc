"""Settles Keras's backend just before Keras is imported, by whomever, and no earlier.

Importing this package must cost nothing, and looking whether Keras is there must change nothing: so a finder
waits for Keras, and the module that it finds is wrapped until it runs.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they take longer to import than all of this
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def wait_for_keras() -> None:
    """Settle the backend when Keras is imported; where it is imported already, it has one."""
    if "keras" not in sys.modules and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds Keras where the others find it, and has the backend settled before its code runs."""

    _asking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders found, for Keras alone."""
        if name != "keras" or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Settling(spec.loader, self)  # type: ignore[assignment]  # it does what loaders do
        return spec


class _Settling:
    """A loader that settles the backend, then does what the one that it stands for does."""

    def __init__(self, loader: Loader, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        # Not `self._loader`, which would ask here again on an object that is just being copied.
        return getattr(object.__getattribute__(self, "_loader"), name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module that is to be filled."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Settle the backend, and run Keras."""
        from frostline.backend_choice import missing_backend, settle_backend, tell

        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        # An import that failed leaves its parts behind, and the backend that they looked for with them.
        again = any(name.startswith("keras.") for name in sys.modules)
        settled = settle_backend()
        try:
            self._loader.exec_module(module)
        except ModuleNotFoundError as problem:
            if (error := missing_backend(problem, again=again)) is None:
                raise
            raise error from None
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        if settled is not None:
            tell(settled)
