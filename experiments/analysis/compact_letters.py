"""Compact letters: more than two arms at a glance. Arms that share a letter could not be told apart."""

from collections.abc import Collection, Sequence
from string import ascii_lowercase


def compact_letters(arms: Sequence[str], differ: Collection[tuple[str, str]]) -> dict[str, str]:
    """The letters of each arm, by insertion and absorption (Piepho 2004, J. Comput. Graph. Statist. 13:456).

    Two arms share a letter if and only if they are not among the pairs that `differ`, in whichever order; earlier arms
    get earlier letters. ValueError for a pair of other arms.
    """
    columns = [frozenset(arms)]
    for one, two in differ:
        if one == two or not {one, two} <= set(arms):
            raise ValueError(f"{one}, {two} is no pair of {', '.join(arms)}")
        parted: list[frozenset[str]] = []
        for column in columns:
            parted += [column - {one}, column - {two}] if {one, two} <= column else [column]
        distinct = list(dict.fromkeys(parted))
        columns = [column for column in distinct if not any(column < other for other in distinct)]
    columns.sort(key=lambda column: sorted(arms.index(arm) for arm in column))
    names = [_letter(place) for place in range(len(columns))]
    return {arm: "".join(name for name, column in zip(names, columns, strict=True) if arm in column) for arm in arms}


def _letter(place: int) -> str:
    """a to z, then a1 to z1 and so on."""
    turn, letter = divmod(place, len(ascii_lowercase))
    return ascii_lowercase[letter] + (str(turn) if turn else "")
