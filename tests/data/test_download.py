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
    [CONTENT[::-1], CONTENT[:1000], b""],
    ids=["wrong-content", "too-short", "empty"],
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


def begun(folder, content):
    folder.mkdir(exist_ok=True)
    (folder / "f.gz.part").write_bytes(content)


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, site):
    site.ranges = True
    site.pages["/a/f.gz"] = (CONTENT[:70_000], len(CONTENT))
    with pytest.raises(InputError, match="cannot download"):
        get(site, tmp_path, "a")
    (part,) = tmp_path.iterdir()
    have = part.stat().st_size
    assert part.name == "f.gz.part"
    assert 0 < have <= 70_000
    site.pages["/a/f.gz"] = CONTENT
    assert get(site, tmp_path, "a").read_bytes() == CONTENT
    assert site.ranges_asked == [None, f"bytes={have}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["f.gz"]


def test_a_second_mirror_sends_only_the_rest(tmp_path, site):
    site.ranges = True
    site.pages = {"/a/f.gz": (CONTENT[:70_000], len(CONTENT)), "/b/f.gz": CONTENT}
    assert get(site, tmp_path, "a", "b").read_bytes() == CONTENT
    assert site.asked == ["/a/f.gz", "/b/f.gz"]
    assert site.ranges_asked[1].startswith("bytes=")


def test_a_server_that_knows_no_range_sends_everything(tmp_path, site):
    begun(tmp_path, CONTENT[:1000])
    site.pages["/a/f.gz"] = CONTENT
    assert get(site, tmp_path, "a").read_bytes() == CONTENT
    assert site.ranges_asked == ["bytes=1000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["f.gz"]


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * len(CONTENT), CONTENT + b"x"])
def test_what_was_begun_wrongly_is_begun_anew(tmp_path, site, stale):
    site.ranges = True
    begun(tmp_path, stale)
    site.pages["/a/f.gz"] = CONTENT
    assert get(site, tmp_path, "a").read_bytes() == CONTENT
    assert site.ranges_asked == [f"bytes={len(stale)}-", None]


def test_a_part_that_lacks_nothing_is_taken(tmp_path, site):
    site.ranges = True
    begun(tmp_path, CONTENT)
    site.pages["/a/f.gz"] = CONTENT
    assert get(site, tmp_path, "a").read_bytes() == CONTENT
    assert len(site.asked) == 1


def test_the_bar_is_for_people_only(tmp_path, site, capsys):
    site.pages["/a/f.gz"] = CONTENT
    get(site, tmp_path / "quiet", "a")
    assert capsys.readouterr() == ("", "")
    mirrors = [f"{site.address}/a/"]
    fetch("f.gz", SHA256, mirrors, tmp_path / "shown", progress=True)
    assert capsys.readouterr().out == ""
