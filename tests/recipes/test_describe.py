"""Help texts read from docstrings."""

from dataclasses import dataclass

from scorefield.recipes import Description, describe


@dataclass(frozen=True)
class Example:
    """A thing in one line.

        x = y

    More words: with a colon.

    Arguments:
        first: what it is; at
            least 1.
        second: another,
            on three
            lines: with a colon.

    Reference: Somebody 1999, eq. 2,
        continued. arXiv:0000.00000
    """

    first: int
    second: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Bare:
    """Only a line."""

    field: float = 0.5


def test_sections_are_read():
    assert describe(Example) == Description(
        "A thing in one line.",
        {
            "first": ("required", "what it is; at least 1."),
            "second": ((1, 2), "another, on three lines: with a colon."),
        },
        "Somebody 1999, eq. 2, continued. arXiv:0000.00000",
    )


def test_what_is_missing_is_empty():
    assert describe(Bare) == Description("Only a line.", {"field": (0.5, "")}, "")
