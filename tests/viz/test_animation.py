"""Animations, read back by other programs."""

import sys

import av
import numpy as np
import pytest
from PIL import Image

from scorefield.errors import InputError
from scorefield.viz import save_animation


def frame(i, size=(40, 30)):
    """A dark picture with a bright square that moves."""
    pixels = np.full((size[1], size[0]), 30, np.uint8)
    pixels[4:16, 3 * i : 3 * i + 12] = 220
    return Image.fromarray(pixels)


FRAMES = [frame(i) for i in range(6)]


@pytest.mark.parametrize("ending", ["gif", "webp"])
@pytest.mark.parametrize(("fps", "hold"), [(12.5, 1.5), (5, 0.2)])
def test_gif_and_webp(tmp_path, ending, fps, hold):
    path = tmp_path / f"a.{ending}"
    save_animation(iter(FRAMES), path, fps=fps, hold=hold)
    with Image.open(path) as found:
        assert found.n_frames == 6
        assert found.size == (40, 30)
        assert found.info.get("loop", 0) == 0
        durations = []
        for i, shown in enumerate(FRAMES):
            found.seek(i)
            pixels = np.asarray(found.convert("L")).astype(int)
            durations.append(found.info["duration"])
            # GIF has a palette and WebP is lossy: near, not equal
            assert np.abs(pixels - np.asarray(shown)).mean() < 4
    assert durations == [round(1000 / fps)] * 5 + [round(1000 / fps + 1000 * hold)]


@pytest.mark.parametrize("size", [(40, 30), (41, 31)], ids=["even", "odd"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_mp4(tmp_path, size, mode):
    path = tmp_path / "a.mp4"
    shown = [frame(i, size).convert(mode) for i in range(6)]
    save_animation(shown, path, fps=10, hold=0.5)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 10)
        found = [f.to_ndarray(format="gray") for f in film.decode(stream)]
    # H.264's colours need even sides; the last picture stays for half a second
    assert found[0].shape == (30, 40)
    assert len(found) == 6 + 5
    for pixels, picture in zip(found, [*shown, *[shown[-1]] * 5], strict=True):
        expected = np.asarray(picture.convert("L"))[:30, :40].astype(int)
        assert np.abs(pixels.astype(int) - expected).mean() < 8


def test_one_picture_is_an_animation(tmp_path):
    save_animation(FRAMES[:1], tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as found:
        assert found.n_frames == 1


@pytest.mark.parametrize(
    ("name", "pictures", "options", "sentence"),
    [
        ("a.avi", FRAMES, {}, r"ends in \.gif, \.webp, \.mp4, got 'a\.avi'"),
        ("a", FRAMES, {}, r"ends in \.gif, \.webp, \.mp4, got 'a'"),
        ("a.gif", [], {}, "at least 1 picture, got 0"),
        ("a.gif", FRAMES, {"fps": 0}, "fps must be above 0 and at most 1000, got 0"),
        ("a.mp4", FRAMES, {"fps": -3}, "fps must be above 0 and at most 1000, got -3"),
        ("a.gif", FRAMES, {"fps": float("nan")}, "fps must be above 0 and at most 1000, got nan"),
    ],
)
def test_bad_requests_leave_nothing(tmp_path, name, pictures, options, sentence):
    with pytest.raises(InputError, match=sentence):
        save_animation(pictures, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.mp4"])
def test_pictures_that_stop_coming_leave_nothing(tmp_path, name):
    def broken():
        yield FRAMES[0]
        raise InputError("the model's output is not finite")

    with pytest.raises(InputError, match="not finite"):
        save_animation(broken(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_video_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install scorefield\[video\]"):
        save_animation(FRAMES, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("times", [{"fps": 0.001}, {"hold": -5.0}, {"hold": 1e4}])
def test_pictures_stay_as_long_as_a_file_can_say(tmp_path, times):
    with pytest.raises(InputError, match="a picture can stay for 0 to 655 s"):
        save_animation([Image.new("L", (4, 4))], tmp_path / "a.gif", **times)
    assert list(tmp_path.iterdir()) == []
