"""What each tile shows of each defect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from defect_detect import geometry
from defect_detect.data.cutting import bounds, frame_of, pixels, placed
from defect_detect.tables import Bools, Dataset, Floats, Ints, Polygons, Region

_EQUAL = 1e-9
"""Two shares that differ by no more come from the same division."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """T tiles of a split and the P pieces of defects in them.

    of        (T,) int64, the picture's row
    window    (T, 4) int64, x0 y0 x1 y1 px in its picture
    tile      (P,) int64, row among the tiles
    defect    (P,) int64, row in `Dataset.defects`
    box       (P, 4) float64, x0 y0 x1 y1 px in the tile
    share     (P,) float64, how much of the defect's area is in the tile
    ignore    (P,) bool
    region    P regions in the tile, or None where the dataset has boxes only
    left_out  how many tiles were there besides
    """

    of: Ints
    window: Ints
    tile: Ints
    defect: Ints
    box: Floats
    share: Floats
    ignore: Bools
    region: tuple[Region, ...] | None
    left_out: int = 0

    def take(self, tiles: Bools) -> Pieces:
        """Those tiles and what is in them."""
        row = np.cumsum(tiles) - 1
        held = tiles[self.tile]
        region = self.region and tuple(one for one, kept in zip(self.region, held, strict=True) if kept)
        return replace(
            self, of=self.of[tiles], window=self.window[tiles], tile=row[self.tile[held]], defect=self.defect[held],
            box=self.box[held], share=self.share[held], ignore=self.ignore[held], region=region,
            left_out=self.left_out + int((~tiles).sum()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    tile: int
    visible: float
    """px^2."""
    whole: float
    """px^2 of the defect."""
    box: Floats
    region: Region | None


def pieces(data: Dataset, windows: Sequence[Ints], least: float) -> Pieces:
    """The pieces of each picture's defects in its `windows`, each (T, 4) x0 y0 x1 y1 px.

    By mask where the defect has a region, else by box. A defect wholly in a tile stands there as it was, only
    moved. A piece counts where it has at least `least` of what the tile that shows most of the defect shows:
    so each defect counts somewhere, also one much longer than a tile. A lesser piece is ignored, not
    forgotten: its tile is not defect-free. What is a crowd or ignored stays so.
    """
    defects = data.defects
    first = np.cumsum([0, *(len(each) for each in windows)])
    found: list[tuple[int, float, _Piece]] = []
    for defect, image in enumerate(defects.image.tolist()):
        region = None if defects.region is None else defects.region[defect]
        size = (int(data.images.size[image, 0]), int(data.images.size[image, 1]))
        own = _of_defect(defects.box[defect], region, size, windows[image], int(first[image]))
        best = max((piece.visible for piece in own), default=1.0)
        found += [(defect, piece.visible / best, piece) for piece in own]
    defect_row = np.array([defect for defect, _, _ in found], np.int64)
    of_best = np.array([share for _, share, _ in found], np.float64)
    crowd, ignored = defects.crowd[defect_row], defects.ignore[defect_row]
    regions = [piece.region for _, _, piece in found if piece.region is not None]
    return Pieces(
        of=np.repeat(np.arange(len(windows)), np.diff(first)),
        window=np.concatenate([np.zeros((0, 4), np.int64), *windows]),
        tile=np.array([piece.tile for _, _, piece in found], np.int64),
        defect=defect_row,
        box=np.array([piece.box for _, _, piece in found], np.float64).reshape(-1, 4),
        share=np.array([piece.visible / piece.whole for _, _, piece in found], np.float64),
        ignore=ignored | (~crowd & (of_best < least - _EQUAL)),
        region=tuple(regions) if defects.region is not None else None,
    )


def _of_defect(
    box: Floats, region: Region | None, size: tuple[int, int], windows: Ints, first: int
) -> list[_Piece]:  # fmt: skip
    """The pieces of one defect of a picture of `size` (width, height) px, whose tiles start with row `first`."""
    inner = np.maximum(box[:2], windows[:, :2])
    outer = np.minimum(box[2:], windows[:, 2:])
    shown = np.flatnonzero((outer > inner).all(axis=1))
    frame = None if region is None else frame_of(region, *size)
    mask = None if region is None or frame is None else pixels(region, frame)
    if mask is not None and not mask.any():
        mask[:] = True  # too thin for any pixel by COCO's rule: its frame stands for it where it is cut
    whole = float(np.prod(box[2:] - box[:2])) if mask is None else float(mask.sum())
    extent = box if region is None else _extent(box, region)
    own = []
    for row in shown.tolist():
        x0, y0, x1, y1 = windows[row].tolist()
        corner = np.array([x0, y0, x0, y0], np.float64)
        clipped = np.concatenate([inner[row], outer[row]])
        tile = first + row
        if (extent[:2] >= (x0, y0)).all() and (extent[2:] <= (x1, y1)).all():
            moved = None if region is None else _moved(region, mask, frame, (x0, y0, x1, y1))
            own.append(_Piece(tile=tile, visible=whole, whole=whole, box=box - corner, region=moved))
        elif mask is None or frame is None:
            visible = float(np.prod(clipped[2:] - clipped[:2]))
            own.append(_Piece(tile=tile, visible=visible, whole=whole, box=clipped - corner, region=None))
        else:
            left, top = max(frame[0], x0), max(frame[1], y0)
            part = mask[top - frame[1] : max(y1 - frame[1], 0), left - frame[0] : max(x1 - frame[0], 0)]
            if not part.any():
                continue  # its box reaches into the tile, the defect itself does not
            tight = bounds(part) + np.array([left, top, left, top])
            # The box the user drew stays where it is narrower than whole px; where the two don't meet, the region's.
            inside = np.concatenate([np.maximum(tight[:2], clipped[:2]), np.minimum(tight[2:], clipped[2:])])
            if not (inside[2:] > inside[:2]).all():
                inside = tight
            region_there = placed(part, left - x0, top - y0, x1 - x0, y1 - y0)
            own.append(_Piece(
                tile=tile, visible=float(part.sum()), whole=whole, box=inside - corner, region=region_there
            ))  # fmt: skip
    return own


def _extent(box: Floats, region: Region) -> Floats:
    """(4,) around the box and the region."""
    around = geometry.region_box(region)
    return np.concatenate([np.minimum(box[:2], around[:2]), np.maximum(box[2:], around[2:])])


def _moved(
    region: Region, mask: Bools | None, frame: tuple[int, int, int, int] | None, window: tuple[int, ...]
) -> Region:
    """The whole region as it stands in the window."""
    x0, y0, x1, y1 = window
    if isinstance(region, Polygons):
        return Polygons(rings=tuple(ring - np.array([x0, y0], np.float64) for ring in region.rings))
    if mask is None or frame is None:
        raise AssertionError("run lengths have a mask")
    return placed(mask, frame[0] - x0, frame[1] - y0, x1 - x0, y1 - y0)
