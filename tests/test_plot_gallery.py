"""The pictures of the gallery are what the program draws.

They are compared twice. The panels without letters, pixel by pixel: each pixel has its like in the other picture, there or
beside it. They are the same to the bit over matplotlib 3.9 to 3.11, but for the edges of coloured cells. And the whole
pictures, in squares: letters may differ by a pixel from machine to machine, which moves panels by as much; labels that are
elsewhere are noticed, other words of the same length are not.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from fieldlog.plot import save
from tools.gallery import BARE, FOLDER, PICTURES, bare, spike

Image = npt.NDArray[np.float64]

_CELL = 8
"""Pixels: differences within such a square, as other letters make, weigh as much as its mean differs."""
_UNLIKE = 0.2
"""A colour that differs more, of 1 between black and white, is another one."""
_MOST_UNLIKE = 12


def pixels(file: Any) -> Image:
    return np.asarray(imread(file), np.float64)[..., :3]


def blurred(path: Path) -> Image:
    """The mean colour of each square."""
    image = pixels(path)
    rows, columns = image.shape[0] // _CELL, image.shape[1] // _CELL
    cut = image[: rows * _CELL, : columns * _CELL]
    return cut.reshape(rows, _CELL, columns, _CELL, 3).mean(axis=(1, 3))


def n_unlike(one: Image, other: Image) -> int:
    """How many pixels have no like in the other picture, there or beside it."""
    rows, columns = np.nonzero(np.abs(one - other).max(axis=2) > _UNLIKE)
    around = np.pad(other, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifts = [(down, right) for down in range(3) for right in range(3)]
    apart = [np.abs(one[rows, columns] - around[rows + a, columns + b]).max(axis=1) for a, b in shifts]
    return int((np.min(apart, axis=0) > _UNLIKE).sum())


def changed(name: str, figure: Figure) -> int:
    """Pixels that a panel has lost or won."""
    drawn, kept = pixels(io.BytesIO(bare(figure))), pixels(BARE / f"{name}.png")
    assert drawn.shape == kept.shape
    return n_unlike(drawn, kept) + n_unlike(kept, drawn)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_gallery_is_as_it_was_looked_at(name: str, tmp_path: Path) -> None:
    figure = PICTURES[name]()
    coloured = any(axes.images for axes in figure.axes)  # whose cells move with their panel
    drawn = blurred(save(figure, tmp_path / "picture.png"))
    kept = blurred(FOLDER / f"{name}.png")
    assert drawn.shape == kept.shape
    difference = np.abs(drawn - kept).max(axis=2)
    assert np.sqrt(np.square(difference).mean()) < (0.05 if coloured else 0.02)
    assert (difference > 0.25).mean() < 0.002
    assert changed(name, figure) <= _MOST_UNLIKE


def test_one_reading_in_a_million_makes_a_difference() -> None:
    assert changed("spike", spike(41.5)) > 2 * _MOST_UNLIKE


def test_the_gallery_has_every_picture() -> None:
    page = (FOLDER.parent / "gallery.md").read_text(encoding="utf-8")
    for folder in (FOLDER, BARE):
        assert {f"{name}.png" for name in PICTURES} == {path.name for path in folder.iterdir()}
    assert all(f"(gallery/{name}.png)" in page for name in PICTURES)
