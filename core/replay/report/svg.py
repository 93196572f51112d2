"""SVG charts inside an HTML page: scales, axes, lines and marks, coloured by the style sheet of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, floor, isfinite, log10
from typing import NamedTuple


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an XML element; attributes are escaped, ``class_`` becomes class, and content is not escaped.

    >>> element("text", "a", x=1, class_="<b>")
    '<text x="1" class="&lt;b&gt;">a</text>'
    """
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"' for key, value in attributes.items()
    )
    return f"<{name}{text}>{content}</{name}>"


def drawing(parts: Iterable[str], width: int, height: int, title: str, description: str) -> str:
    """Return an SVG drawing that scales with the page, with title and description for screen readers."""
    content = element("title", escape(title)) + element("desc", escape(description)) + "".join(parts)
    box = f"0 0 {width} {height}"
    return element("svg", content, viewBox=box, role="img", aria_label=f"{title}: {description}")


_CHARACTER = 6.2
"""The width of a character of a label; texts of a chart have 10 pixels, and digits are wide."""
_HEADING = 20
"""The height above the plot where labels stand; the name of the y axis is above them."""


class Scale(NamedTuple):
    """A linear map from numbers to positions."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value; a value outside the range gets the position of the nearest end."""
        part = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1)
        return self.begin + part * (self.end - self.begin)

    def ticks(self, count: int = 4) -> list[float]:
        """Return round numbers in the range, about ``count`` of them.

        >>> Scale(0, 0.95, 0, 100).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8]
        >>> Scale(1e6, 1e6 + 1e-3, 0, 100).ticks(2)
        [1000000.0, 1000000.0005, 1000000.001]
        """
        span = self.high - self.low
        if not span > 0:
            return [self.low]
        raw = span / count
        exponent = floor(log10(raw))
        unit = 10.0**exponent
        step = unit * min((1, 2, 5, 10), key=lambda factor: abs(log10(factor * unit / raw)))
        first = ceil(self.low / step - 1e-9)
        numbers = [first + place for place in range(2 * count + 2)]
        digits = max(-exponent, 0)  # of the step, whatever the size of the numbers
        return [float(f"{each * step:.{digits}f}") for each in numbers if each * step <= self.high + 1e-9 * span]


class Label(NamedTuple):
    """A text above a plot."""

    text: str
    x: float
    """The number on the x axis that it belongs to."""
    kind: str
    """The class in the style sheet."""

    @property
    def width(self) -> float:
        """The room that it needs, an upper estimate."""
        return _CHARACTER * (len(self.text) + 2)


class Axes(NamedTuple):
    """A pair of scales, and the marks that can be drawn on them."""

    x: Scale
    y: Scale

    def frame(self, x_label: str, y_label: str, *, percent: bool = False) -> str:
        """Draw the grid, the numbers and the labels of both axes."""
        parts: list[str] = []
        for tick in self.y.ticks():
            place = self.y(tick)
            parts.append(element("line", x1=self.x.begin, x2=self.x.end, y1=place, y2=place, class_="grid"))
            parts.append(
                element("text", _tick_label(tick, percent=percent), x=self.x.begin - 5, y=place + 3.5, class_="y")
            )
        parts += [
            element("text", _tick_label(tick, percent=percent), x=self.x(tick), y=self.y.begin + 14, class_="x")
            for tick in self.x.ticks()
        ]
        parts.append(element("line", x1=self.x.begin, x2=self.x.end, y1=self.y.begin, y2=self.y.begin, class_="axis"))
        parts.append(element("text", escape(x_label), x=self.x.end, y=self.y.begin + 27, class_="words end"))
        parts.append(element("text", escape(y_label), x=self.x.begin, y=self.y.end - _HEADING, class_="words"))
        return "".join(parts)

    def line(self, points: Sequence[tuple[float, float]], kind: str, *, steps: bool = False) -> str:
        """Draw a line through the points, with a gap at each that is not finite."""
        path: list[str] = []
        pen = "M"
        for x, y in points:
            if not (isfinite(x) and isfinite(y)):
                pen = "M"
                continue
            if steps and pen == "L":
                path.append(f"H{self.x(x):.1f}")
            path.append(f"{pen}{self.x(x):.1f} {self.y(y):.1f}")
            pen = "L"
        return element("path", d="".join(path), class_=kind) if path else ""

    def dot(self, x: float, y: float, kind: str, radius: float = 3) -> str:
        """Draw a circle."""
        return element("circle", cx=round(self.x(x), 1), cy=round(self.y(y), 1), r=radius, class_=kind)

    def vertical_line(self, x: float, kind: str) -> str:
        """Draw a line from top to bottom."""
        place = round(self.x(x), 1)
        return element("line", x1=place, x2=place, y1=self.y.begin, y2=self.y.end, class_=kind)

    def triangle(self, x: float, kind: str) -> str:
        """Draw a small triangle at the top, pointing down."""
        place, foot = round(self.x(x), 1), self.y.end + 8
        return element("path", d=f"M{place - 4} {foot - 8}h8l-4 8z", class_=kind)

    def labels(self, labels: Sequence[Label]) -> str:
        """Write labels above the plot, each as near to its place as the others leave room: none covers a line."""
        ordered = sorted(labels, key=lambda each: each.x)
        begins: list[float] = []
        for each in ordered:
            begin = max(self.x(each.x) - each.width / 2, self.x.begin)
            begins.append(max(begin, begins[-1] + ordered[len(begins) - 1].width) if begins else begin)
        end = self.x.end
        for place in reversed(range(len(ordered))):
            begins[place] = min(begins[place], end - ordered[place].width)
            end = begins[place]
        return "".join(
            element("text", escape(each.text), x=round(begin, 1), y=round(self.y.end - 6, 1), class_=each.kind)
            for each, begin in zip(ordered, begins, strict=True)
        )


def _attribute(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _tick_label(value: float, *, percent: bool) -> str:
    return f"{100 * value:.4g} %" if percent else f"{value:.4g}"
