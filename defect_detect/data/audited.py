"""What an audit says of a dataset: the content of `audit.json`."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Where values lie: the least, the 10 % quantile, the median, the 90 % quantile, the most."""

    least: float
    low: float
    median: float
    high: float
    most: float


class SplitCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a split holds."""

    split: str
    images: int
    defect_free: int
    """Without any annotation."""
    units: int
    """Parts, panels or lots (`group`); the picture where none is given."""
    defects: int
    """That count: neither crowd nor ignored."""
    crowds: int
    ignored: int


class ClassInSplit(msgspec.Struct, frozen=True, kw_only=True):
    """What a split holds of a class; defects that count."""

    split: str
    defects: int
    images: int
    units: int
    small: int
    """Area under 32 x 32 px; area as COCO's own bins take it."""
    medium: int
    large: int
    """Area from 96 x 96 px on."""


class ClassCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A class over all splits."""

    name: str
    severity: str | None
    splits: list[ClassInSplit]
    long_side: Range | None
    """Of the box, px; None: the class has no defect that counts."""
    short_side: Range | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How small defects are where a detector sees them: after resizing, defects of all splits that count."""

    detector: str
    framework: str
    model: str
    resizing: str
    """In words."""
    stride: float | None
    """Px of the network's input from one place of its finest feature map to the next; None: not known."""
    source: str
    """Where the stride comes from."""
    defects: int
    short_side: Range | None
    """Px of the network's input."""
    under: dict[str, int]
    """By a limit in px of the network's input: defects whose short side is less."""
    in_a_cell: int | None
    """Defects whose long side is less than the stride: a single place of the map holds all of it."""
    by_class: dict[str, dict[str, int]]
    """`under`, by class."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What a framework's own loader drops of the train split by one rule."""

    framework: str
    detector: str
    """The detector at whose image size it was counted; empty: image size plays no part."""
    rule: str
    source: str
    """Where the rule stands."""
    unit: str
    """`images` | `annotations`"""
    count: int
    of: int
    here: str
    """`kept`: our backend neutralises it; `lost`: it doesn't."""
    note: str


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """How exactly a class's FN rate can be known from the test split.

    Half the width of the exact 95 % interval (Clopper and Pearson 1934), 0 to 1.
    """

    category: str
    defects: int
    units: int
    design_effect: float | None
    """How many times fewer defects would say as much, if all defects of a unit were missed or found together."""
    half_width: float | None
    """At an FN rate of one half, where it is widest; defects independent of each other."""
    half_width_by_units: float | None
    """The same if all defects of a unit were missed or found together."""
    half_width_at_tenth: float | None
    """At an FN rate of one tenth; defects independent of each other."""
    needed: int
    """Independent defects for half a width of 10 points at an FN rate of one half."""
    verdict: str
    """`enough` | `perhaps too few` (if a unit's defects go together) | `too few`"""


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A label that is worth a second look."""

    kind: str
    """`twice, other class` | `twice, same class` | `whole image` | `speck` | `unusual size`"""
    split: str
    file: str
    annotation: int
    """Id in the normalized dataset."""
    source_id: int | str
    category: str
    box: tuple[float, float, float, float]
    """x0 y0 x1 y1 px."""
    value: float
    """IoU with the other; share of the picture; short side in px; how many times the class's usual side."""
    other: int | None = None
    """Id of the annotation that it nearly equals."""
    other_category: str | None = None


class Alike(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures of several splits that look nearly the same: a leak, if they show the same part."""

    files: dict[str, list[str]]
    """By split; like each other directly, or over others of them."""
    nearest: dict[str, str]
    """The two of different splits that are most alike."""
    bits: int
    """In how many of 256 bits the difference hashes of these two differ."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset as it is before anything is trained on it."""

    schema: int = SCHEMA
    dataset: str
    fingerprints: dict[str, str]
    """By split."""
    scale: float | None
    unit: str
    regions: bool
    splits: list[SplitCounts]
    classes: list[ClassCounts]
    shown: list[Shown]
    losses: list[Loss]
    precision: list[Precision]
    suspects: list[Suspect]
    alike: list[Alike] | None
    """None: not looked for."""
    warnings: list[str]
    """What should be known before training, in sentences."""
