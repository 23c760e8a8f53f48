"""Grids of images, pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.viz import image_grid, picture, save_image, save_images


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def cut_out(grid, images, columns, gap=2):
    """The images in a grid, read back at its enlarged pixels; and what is around them."""
    _, height, width, _ = images.shape
    factor = grid.width // (columns * (width + gap) + gap)
    small = np.asarray(grid)[::factor, ::factor]
    assert np.array_equal(small.repeat(factor, 0).repeat(factor, 1), np.asarray(grid))
    small = small[..., None] if small.ndim == 2 else small
    around = np.ones(small.shape[:2], bool)
    found = []
    for i in range(len(images)):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        part = slice(top, top + height), slice(left, left + width)
        found.append(small[part])
        around[part] = False
    return np.stack(found), small[around]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (5, 3, 2), (6, 2, 3), (7, 7, 1)])
def test_every_image_is_in_its_place(channels, count, columns, rows):
    images = noise(count, 4, 6, channels)
    grid = image_grid(images, columns)
    # 2 pixels around and between, all of it enlarged by a whole factor to a size one can look at
    factor = grid.width / (columns * 8 + 2)
    assert factor == int(factor) > 1
    assert grid.height == (rows * 6 + 2) * factor
    assert 300 <= max(grid.size) <= 1200
    assert grid.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    found, around = cut_out(grid, images, columns)
    assert np.array_equal(found, images)
    assert len(np.unique(around)) == 1


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (10, 4), (100, 10)])
def test_about_a_square_unless_asked(count, columns):
    images = noise(count, 5, 5, 1)
    assert image_grid(images).tobytes() == image_grid(images, columns).tobytes()
    assert image_grid(images).size == image_grid(images, columns).size


def test_more_columns_than_images_are_not_left_empty():
    images = noise(3, 5, 5, 1)
    assert image_grid(images, 50).size == image_grid(images, 3).size


def test_other_channels_show_the_first():
    images = noise(2, 5, 5, 2)
    assert image_grid(images).tobytes() == image_grid(images[..., :1]).tobytes()


def test_large_grids_are_not_enlarged():
    assert image_grid(noise(1, 1200, 300, 1)).size == (304, 1204)


@pytest.mark.parametrize("images", [noise(3, 4, 4), noise(0, 4, 4, 1), noise(4, 4)])
def test_what_is_not_images(images):
    with pytest.raises(InputError, match=r"needs images \(N, H, W, C\), got shape"):
        image_grid(images)


@pytest.mark.parametrize("columns", [0, -1, -7])
def test_columns_that_make_no_grid(columns):
    with pytest.raises(InputError, match=f"columns must be at least 1, got {columns}"):
        image_grid(noise(3, 4, 4, 1), columns)


def test_a_picture_of_image_samples_is_their_grid():
    spec = DataSpec((1, 4, 6))
    stored = torch.from_numpy(noise(5, 1, 4, 6))
    drawn = picture(spec.to_model(stored), spec, columns=2)
    found, _ = cut_out(drawn, stored.permute(0, 2, 3, 1).numpy(), 2)
    assert np.array_equal(found, stored.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("name", ["picture.png", "new/folder/picture.bmp"])
def test_saved_pictures_are_read_back(tmp_path, name):
    grid = image_grid(noise(5, 4, 6, 3))
    save_image(grid, tmp_path / name)
    with Image.open(tmp_path / name) as found:
        assert np.array_equal(np.asarray(found), np.asarray(grid))
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


@pytest.mark.parametrize("name", ["picture.xyz", "picture", "picture.psd"])
def test_an_ending_that_is_no_format(tmp_path, name):
    with pytest.raises(InputError, match=name):
        save_image(image_grid(noise(1, 4, 4, 1)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_one_file_an_image(tmp_path, channels):
    images = noise(3, 4, 6, channels)
    save_images(images, tmp_path / "new", ["a", "b", "c"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png", "c.png"]
    for image, name in zip(images, "abc", strict=True):
        with Image.open(tmp_path / "new" / f"{name}.png") as found:
            shown = image if channels in (3, 4) else image[..., 0]
            assert np.array_equal(np.asarray(found), shown)


def test_a_grid_is_of_levels():
    with pytest.raises(InputError, match="uint8, from 0 to 255, got float64"):
        image_grid(np.full((1, 2, 2, 1), 0.9))
