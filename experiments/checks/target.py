"""A measured figure and the target that it must meet."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One figure, at least or at most as high as its target.

    Attributes:
        what: name of the figure.
        value: the measurement.
        least, most: the target, one of them; neither for a figure that only explains another one.
        detail: what the figure is made of.
    """

    what: str
    value: float
    least: float | None = None
    most: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side of its target."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def __str__(self) -> str:
        verdict = ""
        if self.least is not None or self.most is not None:
            bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
            verdict = f"{bound}: {'met' if self.met else 'MISSED'}"
        return f"{self.what:<60}{self.value:8.4g}   {verdict:<24}{self.detail}".rstrip()
