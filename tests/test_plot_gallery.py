"""The pictures of the gallery are what the program draws. Letters may differ by a pixel from machine to machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.image import imread

from fieldlog.plot import save
from tools.gallery import FOLDER, PICTURES

_CELL = 8
"""Pixels: differences within such a square, as other letters make, weigh as much as its mean differs."""


def blurred(path: Path) -> npt.NDArray[np.float64]:
    """The mean colour of each square."""
    image = np.asarray(imread(path), np.float64)[..., :3]
    rows, columns = image.shape[0] // _CELL, image.shape[1] // _CELL
    cut = image[: rows * _CELL, : columns * _CELL]
    return cut.reshape(rows, _CELL, columns, _CELL, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_gallery_is_as_it_was_looked_at(name: str, tmp_path: Path) -> None:
    drawn = blurred(save(PICTURES[name](), tmp_path / "picture.png"))
    kept = blurred(FOLDER / f"{name}.png")
    assert drawn.shape == kept.shape
    difference = np.abs(drawn - kept).max(axis=2)
    assert np.sqrt(np.square(difference).mean()) < 0.02
    assert (difference > 0.25).mean() < 0.002


def test_the_gallery_has_every_picture() -> None:
    page = (FOLDER.parent / "gallery.md").read_text(encoding="utf-8")
    assert {f"{name}.png" for name in PICTURES} == {path.name for path in FOLDER.iterdir()}
    assert all(f"(gallery/{name}.png)" in page for name in PICTURES)
