"""Images of every kind as numbers from 0 to 255, and folders that are not classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.data.image_folder import check_images, load_images
from frostline.data.samples import Samples
from frostline.data.sources import ImagesData
from frostline.errors import DataError

SIZE = (4, 6)


def gray(low: int = 0, high: int = 255, dtype: str = "uint8") -> np.ndarray:
    """Black on the left, white on the right."""
    return np.repeat(np.array([[low] * 3 + [high] * 3], dtype), 4, axis=0)


def color() -> np.ndarray:
    return np.stack([gray(), gray(255, 0), gray(128, 128)], axis=-1)


KINDS: dict[str, Callable[[Path], Any]] = {
    "8 bits, gray.png": lambda p: Image.fromarray(gray()).save(p),
    "16 bits, gray.png": lambda p: Image.fromarray(gray(0, 65535, "uint16")).save(p),
    "1 bit.png": lambda p: Image.fromarray(gray()).convert("1").save(p),
    "palette.png": lambda p: Image.fromarray(gray()).convert("P").save(p),
    "palette.gif": lambda p: Image.fromarray(gray()).convert("P").save(p),
    "opaque RGBA.png": lambda p: Image.fromarray(gray()).convert("RGBA").save(p),
    "gray with alpha.png": lambda p: Image.fromarray(gray()).convert("LA").save(p),
    "color.bmp": lambda p: Image.fromarray(gray()).convert("RGB").save(p),
    "CMYK.jpg": lambda p: Image.fromarray(gray()).convert("RGB").convert("CMYK").save(p, quality=100),
}


def folder_of(root: Path, **classes: list[str]) -> Path:
    """Make folders of images, by the names of these."""
    for name, files in classes.items():
        for file in files:
            path = root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(color()).save(path)
    return root


def load(root: Path, channels: int = 3, **more: Any) -> Samples:
    return load_images(root, ImagesData(images=str(root), **more), (*SIZE, channels))


def refusal(root: Path, channels: int = 3, **more: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(root, channels, **more)
    return str(caught.value)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_black_is_0_and_white_is_255(tmp_path: Path, kind: str, channels: int) -> None:
    folder_of(tmp_path, a=[], b=["1.png"])
    (tmp_path / "a").mkdir()
    KINDS[kind](tmp_path / "a" / kind)
    image = load(tmp_path, channels).x[np.array([0])][0]
    assert (image.shape, image.dtype) == ((*SIZE, channels), "float32")
    np.testing.assert_allclose(image[:, 0, :3], 0, atol=2)
    np.testing.assert_allclose(image[:, -1], 255, atol=2)
    if channels == 4:
        assert np.all(image[..., 3] == 255)


def test_16_bits_are_scaled_and_resized_without_loss(tmp_path: Path) -> None:
    folder_of(tmp_path, b=["1.png"])
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((9, 9), 257 * 100 + 128, "uint16")).save(tmp_path / "a/1.png")
    found = load(tmp_path, range=[0.0, 1.0]).x[np.array([0])]
    np.testing.assert_allclose(found, (257 * 100 + 128) / 65535, rtol=1e-6)


def test_photos_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    folder_of(tmp_path, b=["1.png"])
    (tmp_path / "a").mkdir()
    upright = Image.fromarray(np.kron(color(), np.ones((8, 8, 1), "uint8")))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: 90 degrees clockwise makes it upright
    upright.rotate(90, expand=True).save(tmp_path / "a/1.jpg", exif=exif, quality=95)
    image = load(tmp_path).x[np.array([0])][0]
    np.testing.assert_allclose(image, np.array(color(), "float32"), atol=40)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "moving.gif": (
        lambda p: Image.fromarray(gray()).save(
            p, save_all=True, append_images=[Image.fromarray(gray(255, 0)), Image.fromarray(gray(9, 9))]
        ),
        "received: 3 images in one file",
    ),
    "moving.png": (
        lambda p: Image.fromarray(gray()).save(
            p, save_all=True, append_images=[Image.fromarray(gray(255, 0))]
        ),
        "received: 2 images in one file",
    ),
    "clear.png": (
        lambda p: Image.fromarray(np.dstack([color(), gray(0, 255)])).save(p),
        "transparent pixels",
    ),
    "clear palette.png": (
        lambda p: Image.fromarray(gray()).convert("P").save(p, transparency=0),
        "transparent pixels",
    ),
    "floats.png": (
        lambda p: Image.fromarray(gray().astype("float32")).save(p, format="TIFF"),
        "pixels of the kind 'F' in a file of the kind TIFF",
    ),
    "torn.png": (lambda p: p.write_bytes(b"\x89PNG"), "cannot be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_right_form_is_refused_before_training(tmp_path: Path, kind: str) -> None:
    make, said = REFUSED[kind]
    folder_of(tmp_path, b=["1.png"])
    (tmp_path / "a").mkdir()
    make(tmp_path / "a" / kind)
    text = refusal(tmp_path)
    assert f"the image {str(tmp_path / 'a' / kind)!r} cannot be read" in text
    assert said in text


def test_a_model_of_four_channels_takes_transparency(tmp_path: Path) -> None:
    folder_of(tmp_path, b=["1.png"])
    (tmp_path / "a").mkdir()
    Image.fromarray(np.dstack([color(), gray(0, 255)])).save(tmp_path / "a/1.png")
    image = load(tmp_path, 4).x[np.array([0])][0]
    np.testing.assert_array_equal(image[..., 3], gray(0, 255))


# Folders ----------------------------------------------------------------------------------------------


SPLITS = (
    "train test",
    "training validation",
    "Train VAL test",
    "train_images valid_images",
    "training_set test_set",
    "train2017 val2017",
    "dev test",
    "train test other",
)


@pytest.mark.parametrize("names", SPLITS)
def test_parts_of_a_data_set_are_no_classes(tmp_path: Path, names: str) -> None:
    folder_of(tmp_path, **{name: ["cat/1.png", "dog/1.png"] for name in names.split()})
    said = refusal(tmp_path)
    assert "has a folder for each part of a data set, not for each class" in said
    assert "name one part of it, images: " in said
    assert load(tmp_path, classes=names.split()).classes == tuple(names.split())


def test_one_part_with_classes_in_it_is_told_too(tmp_path: Path) -> None:
    folder_of(tmp_path, train=["cat/1.png", "dog/1.png"], extra=["1.png"])
    assert "not for each class" in refusal(tmp_path)


@pytest.mark.parametrize(
    "names", [("bus", "car", "train"), ("control", "test"), ("invalid", "valid"), ("devil", "tester")]
)
def test_classes_may_be_called_so(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder_of(tmp_path, **{name: ["1.png"] for name in names})
    assert load(tmp_path).classes == names


def test_what_programs_leave_behind_is_no_class_and_no_image(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        a=["1.png", ".ipynb_checkpoints/1-checkpoint.png", "._1.png"],
        b=["1.png", "@eaDir/1.png"],
        **{".ipynb_checkpoints": ["1.png"], "__MACOSX": ["a/1.png"]},
    )
    found = load(tmp_path)
    assert (found.classes, len(found)) == (("a", "b"), 2)
    assert any("hidden or a program left them" in line for line in found.about)


def test_what_is_left_out_or_lies_deeper_is_said(tmp_path: Path) -> None:
    folder_of(tmp_path, a=["1.png", "more/2.png"], b=["1.png"])
    (tmp_path / "a/notes.txt").write_text("")
    Image.fromarray(color()).save(tmp_path / "stray.png")
    assert load(tmp_path).about == (
        "each folder is a class: a, b",
        "left out, since they are in no folder of these classes: stray.png",
        "left out, since they are not images: a/notes.txt",
        "images in folders within a folder belong to its class: a",
    )


@pytest.mark.parametrize("name", ["2.tif", "2.webp", "2.HEIC", "deep/2.tiff"])
def test_images_of_other_kinds_are_not_left_out_silently(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path, a=["1.png"], b=["1.png"])
    (tmp_path / "a" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "a" / name).write_bytes(b"")
    said = refusal(tmp_path)
    assert "has images of kinds that are not read" in said
    assert Path(name).name in said


@pytest.mark.parametrize("kind", ["a link to nothing", "a link to itself", "a pipe", "a link to a device"])
def test_what_only_has_the_name_of_an_image_is_not_left_out_silently(tmp_path: Path, kind: str) -> None:
    folder_of(tmp_path, a=["1.png"], b=["1.png"])
    path = tmp_path / "a" / "z.png"
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"a link to nothing": "gone", "a link to itself": "z.png"}.get(kind, "/dev/zero"))
    said = refusal(tmp_path)
    assert "has images that are no files.\n  received: z.png" in said


@pytest.mark.parametrize("mode", ["I;16", "L"])
def test_images_of_16_bits_count_for_what_they_take(tmp_path: Path, mode: str) -> None:
    """A blank page of 25 million gray pixels is read with 8 bits; with 16 it would take ten times as much."""
    folder_of(tmp_path, a=["1.png"], b=["1.png"])
    Image.new(mode, (5000, 5000)).save(tmp_path / "a" / "z.png")
    if mode == "L":
        assert len(load(tmp_path, 1).y) == 3
    else:
        assert "the image unpacks from" in refusal(tmp_path, 1)


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, a=["1.png"], b=[".hidden/1.png"], c=["1.png"])
    assert f"the folder {str(tmp_path / 'b')!r} has no images" in refusal(tmp_path)


def test_a_name_with_invisible_characters_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, **{"cat": ["1.png"], "cat\u200b": ["1.png"]})
    with pytest.raises(DataError, match="invisible characters"):
        check_images(tmp_path, ImagesData(images=str(tmp_path)))
