"""One colour and one marker for each detector, the same everywhere in a report.

Colours are Okabe and Ito's (2008), told apart with any colour vision; markers and dashes carry the
same difference in print without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5D5D5D")
# Paths around (0, 0), about 10 px across.
_MARKERS = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",  # circle
    "M-4.5-4.5h9v9h-9Z",  # square
    "M0-5.5L5.5 4.5H-5.5Z",  # triangle
    "M0-6.2L6.2 0L0 6.2L-6.2 0Z",  # diamond
    "M0 5.5L5.5-4.5H-5.5Z",  # triangle, tip down
    "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",  # plus
    "M-6-2L0-6L6-2L3.7 5H-3.7Z",  # pentagon
)
_DASHES = ("none", "7 3", "2.5 2.5", "9 3 2 3", "12 4", "5 2 1 2 1 2", "1.5 3.5")

# From what a lower threshold mends to what no threshold will: light to dark, told apart by lightness alone.
REASON_COLOURS = {
    "below_threshold": "#FFF0B3",
    "misclassified": "#FDD162",
    "fragmented": "#F2A541",
    "mislocalized": "#D97B2E",
    "merged": "#B0562A",
    "low_overlap_and_label": "#7D3B26",
    "unseen": "#2E1A17",
}
ALARM_COLOURS = {
    "duplicate": "#D6E6F4",
    "misclassified": "#93BBDC",
    "mislocalized": "#4A82B4",
    "background": "#123A63",
}
_OTHER = "#999999"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a detector is drawn: colour, marker path and the dash of its curve."""

    name: str
    colour: str
    marker: str
    dash: str


NEUTRAL = Identity(name="", colour="#333333", marker=_MARKERS[0], dash="none")
"""A dot that belongs to no single detector."""


def identities(names: Sequence[str]) -> dict[str, Identity]:
    """By name, in the order given. From the eighth detector on, colours return with another marker."""
    found = {}
    for place, name in enumerate(names):
        turn = place // len(_COLOURS)
        found[name] = Identity(
            name=name,
            colour=_COLOURS[place % len(_COLOURS)],
            marker=_MARKERS[(place + turn) % len(_MARKERS)],
            dash=_DASHES[(place + turn) % len(_DASHES)],
        )
    return found


def reason_colour(reason: str) -> str:
    """The fill of a reason for a miss."""
    return REASON_COLOURS.get(reason, _OTHER)


def alarm_colour(reason: str) -> str:
    """The fill of a reason for a false alarm."""
    return ALARM_COLOURS.get(reason, _OTHER)


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on `#RRGGBB` (WCAG relative luminance)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]  # noqa: PLR2004 - sRGB
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#111111" if luminance > 0.18 else "#FFFFFF"  # noqa: PLR2004 - equal contrast to both
