"""Training on a folder of pictures: 100 emoji with captions, and what --strict refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from scorefield import Trainer, find_recipe
from scorefield.cli.main import main
from scorefield.data.folder import Folder
from scorefield.models import load

EMOJI = Path(__file__).parents[1] / "data" / "emoji"
SMALL = ["data=folder", "network.width=8", "network.heads=2", "training.batch=8"]
SMALL += ["training.compile=off", "training.precision=fp32", "sampling.steps=4"]
SMALL += ["training.health_every=off"]


def test_emoji_are_what_pillow_and_their_table_say():
    data = Folder(str(EMOJI)).load()
    assert (len(data), data.spec.shape, data.skipped) == (100, (3, 32, 32), ())
    assert data.spec.class_names == (
        *("Activities", "Animals & Nature", "Food & Drink", "Travel & Places"),
    )
    rows = (EMOJI / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = sorted((json.loads(row) for row in rows), key=lambda row: row["file_name"])
    assert data.caption == tuple(row["text"] for row in rows)
    labels = [data.spec.class_names[i] for i in data.label]
    assert labels == [row["label"] for row in rows]
    assert np.bincount(data.label).tolist() == [25] * 4
    for row, pixels in zip(rows, data.x.numpy(), strict=True):
        with Image.open(EMOJI / row["file_name"]) as picture:
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            assert np.array_equal(pixels, np.array(white.convert("RGB")).transpose(2, 0, 1))


def test_emoji_are_trained_on_in_memory_or_streamed(here):
    losses = []
    for memory in (1.0, 0.0):
        words = [f"data.path={EMOJI}", f"data.memory={memory}", "training.budget=2steps"]
        trainer = Trainer(find_recipe("mnist", [*SMALL, *words]), here / f"{memory}")
        losses.append([progress.loss for progress in trainer])
        assert len(trainer.run.data.caption) == 100
    assert losses[0] == losses[1]
    assert np.isfinite(losses).all()
    model = load(here / "1.0")
    assert model.spec.class_names[1] == "Animals & Nature"
    assert model.recipe.data == Folder(str(EMOJI))
    assert model.sample(2, label=1).shape == (2, 3, 32, 32)


def test_a_broken_picture_is_skipped_or_refused(here, run, capsys):
    (here / "photos").mkdir()
    for path in sorted(EMOJI.glob("*.png"))[:12]:
        shutil.copy(path, here / "photos")
    (here / "photos" / "x y.png").write_bytes(b"broken")
    words = ["train", "mnist", *SMALL, "data.path=photos", "--budget", "1step", "-o"]
    assert main([*words, "run"]) == 0
    assert "x y.png" in capsys.readouterr().err  # the trainer tells of it
    assert load("run").recipe.data.strict is False
    assert main([*words, "other", "--strict"]) == 2
    assert "only 12 of 13 pictures in photos can be used; x y.png: not" in capsys.readouterr().err
    assert not (here / "other").exists()
    (here / "photos" / "x y.png").unlink()
    run(*words, "strict", "--strict")
    assert load("strict").recipe.data.strict is True


def test_strict_names_the_data_that_have_it(here, capsys):
    assert main(["train", "moons", "--budget", "1step", "-o", "run", "--strict"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("scorefield: unknown key in data: 'strict'")
    assert said.endswith("; it is a key of hub, folder\n")
    assert main(["train", "--resume", "-o", "run", "--strict"]) == 2
    assert "a resumed run keeps its recipe, got data.strict=true" in capsys.readouterr().err
