"""What the weights of a `.keras` archive may hold: datasets in the file itself, that unpack to little more.

HDF5 packs datasets, fills those that were never written, and takes them from other files, all of which Keras
would follow. Only what describes the datasets is read here.
"""

from __future__ import annotations

from typing import IO, Any

from frostline.files.limits import DamagedError, UnreadableError, require_unpacked

_MOST_OBJECTS = 200_000


def elements_of_plain_hdf5(stream: IO[bytes], size: int) -> int:
    """Look over an HDF5 file, and return how many numbers its datasets hold together.

    Args:
        stream: The file; it can be sought in.
        size: How many bytes it has.

    Raises:
        UnreadableError: It is not an HDF5 file, takes numbers from other files, or unpacks to far more than
            it has; says why in one phrase.
    """
    # Keras needs it as well, but not before a model is opened.
    import h5py

    try:
        with h5py.File(stream, "r") as file:
            return _look(file, size)
    except UnreadableError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as problem:
        said = (str(problem).splitlines() or [type(problem).__name__])[0][:200]
        raise DamagedError(f"its weights are not whole HDF5 file: {said}") from None


def _look(file: Any, size: int) -> int:
    import h5py

    elements = unpacked = seen = 0
    waiting = [file]
    known = set()
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            if seen > _MOST_OBJECTS:
                raise UnreadableError(f"its weights hold more than {_MOST_OBJECTS:,} groups and datasets")
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnreadableError(
                    f"its weights have a link to elsewhere, {name[:60]!r}, which is not followed"
                )
            found = group[name]
            if isinstance(found, h5py.Group):
                # By its place in the file: a group may be reached by several names, and hold itself.
                place = h5py.h5o.get_info(found.id).addr
                if place not in known:
                    known.add(place)
                    waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                if found.external or found.is_virtual:
                    raise UnreadableError(
                        f"its weights take {name[:60]!r} from another file, which is not followed"
                    )
                elements += int(found.size or 0)
                unpacked += int(found.size or 0) * found.dtype.itemsize
    require_unpacked(size, unpacked, "what holds the weights")
    return elements
