"""Files from the network are in the cache whole and right, or not at all."""

import hashlib

import pytest

from scorefield.data.download import cache_folder, fetch
from scorefield.errors import InputError

CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def get(site, folder, *mirrors):
    return fetch("f.gz", SHA256, [f"{site.address}/{m}/" for m in mirrors], folder, progress=False)


def test_first_mirror_that_works_is_used(tmp_path, site):
    site.pages = {"/b/f.gz": CONTENT, "/c/f.gz": CONTENT}
    path = get(site, tmp_path / "cache", "a", "b", "c")
    assert path == tmp_path / "cache" / "f.gz"
    assert path.read_bytes() == CONTENT
    assert site.asked == ["/a/f.gz", "/b/f.gz"]


def test_what_is_in_the_cache_is_not_fetched_again(tmp_path, site):
    site.pages["/a/f.gz"] = CONTENT
    assert get(site, tmp_path, "a") == get(site, tmp_path, "a")
    assert len(site.asked) == 1


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path, site):
    (tmp_path / "f.gz").write_bytes(CONTENT[:99])
    site.pages["/a/f.gz"] = CONTENT
    assert get(site, tmp_path, "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "page",
    [CONTENT[::-1], (CONTENT[:1000], len(CONTENT)), CONTENT[:1000], b""],
    ids=["wrong-content", "cut-off", "too-short", "empty"],
)
def test_bad_downloads_leave_nothing(tmp_path, site, page):
    site.pages["/a/f.gz"] = page
    with pytest.raises(InputError, match=r"^cannot download f\.gz \(") as caught:
        get(site, tmp_path, "a")
    assert f"{site.address}/a/" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*")) == []


def test_a_bad_mirror_does_not_stop_the_next(tmp_path, site):
    site.pages = {
        "/a/f.gz": (CONTENT[:1000], len(CONTENT)),
        "/b/f.gz": b"<html>",
        "/c/f.gz": CONTENT,
    }
    assert get(site, tmp_path, "a", "b", "c").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.rglob("*")] == ["f.gz"]


def test_every_mirror_is_named_when_all_fail(tmp_path, site):
    with pytest.raises(InputError) as caught:
        fetch(
            "f.gz",
            SHA256,
            [f"{site.address}/a/", "http://127.0.0.1:9/b/"],  # port 9: nobody answers
            tmp_path,
            progress=False,
        )
    assert f"{site.address}/a/: 404" in str(caught.value)
    assert "http://127.0.0.1:9/b/: " in str(caught.value)


def test_a_cache_that_cannot_be_written(tmp_path, site):
    (tmp_path / "file").write_text("in the way")
    site.pages["/a/f.gz"] = CONTENT
    with pytest.raises(InputError, match=r"cannot download f\.gz"):
        get(site, tmp_path / "file" / "cache", "a")


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "scorefield"
