"""Compact letters: a table of three or more arms at a glance. Arms that share a letter cannot be told apart."""

from collections.abc import Collection, Sequence
from string import ascii_lowercase


def compact_letters(arms: Sequence[str], differ: Collection[tuple[str, str]]) -> dict[str, str]:
    """The letters of each arm, by insertion and absorption (Piepho 2004, J. Comput. Graph. Statist. 13:456).

    Two arms share a letter if and only if they are no pair of `differ`, in either order. Earlier arms get earlier
    letters: a to z, then a1 to z1 and so on. ValueError for a pair of other arms.
    """
    columns = [frozenset(arms)]
    for one, two in differ:
        if one == two or not {one, two} <= set(arms):
            raise ValueError(f"{one}, {two} is not a pair of {', '.join(arms)}")
        split: list[frozenset[str]] = []
        for column in columns:
            split += [column - {one}, column - {two}] if {one, two} <= column else [column]
        columns = [column for column in dict.fromkeys(split) if not any(column < other for other in split)]
    columns.sort(key=lambda column: sorted(map(arms.index, column)))
    names = [f"{ascii_lowercase[place % 26]}{place // 26 or ''}" for place in range(len(columns))]
    return {arm: "".join(name for name, column in zip(names, columns, strict=True) if arm in column) for arm in arms}
