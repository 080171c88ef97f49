"""A review goes through a spreadsheet and comes back the same, and what is wrong with a table is said all at once."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defect_detect.errors import DatasetError
from defect_detect.evaluation import review
from defect_detect.evaluation.reasons import judge
from defect_detect.evaluation.review import DECISIONS, Entry, Header, Review, Sample
from defect_detect.evaluation.review_template import template
from defect_detect.report import review_csv
from defect_detect.report.review_row import COLUMNS
from tests.test_review import BOTH, decided, entry, figures

TABLE = Path("review.csv")
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\r"), max_size=12)
NAME = TEXT.filter(str.strip)
PLACE = st.tuples(*[st.floats(-1e6, 1e6)] * 4)
ENTRIES = st.builds(
    Entry, decision=st.sampled_from(["", *DECISIONS]), image=NAME, category=NAME, box=PLACE,
    annotation=st.none() | st.integers(0, 2**53), detector=st.none() | NAME, seed=st.none() | st.integers(0, 99),
    score=st.none() | st.floats(0, 1), sampled=st.booleans(), missed_by=st.lists(TEXT, max_size=2),
    true_category=st.none() | NAME, true_box=st.none() | PLACE, note=TEXT.filter(lambda text: not text or text.strip()),
)  # fmt: skip
HEADERS = st.builds(
    Header, review=st.just(1), dataset=NAME, split=st.just("test"),
    sample=st.none() | st.builds(Sample, drawn=st.integers(0, 50), of=st.integers(50, 900), seed=st.integers(0, 9)),
)  # fmt: skip


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@given(st.builds(Review, header=HEADERS, entries=st.lists(ENTRIES, max_size=4)))
def test_a_review_comes_back_as_it_was_and_no_cell_is_run(said):
    content = review_csv.encode(said, TABLE)

    assert review_csv.decode(content, "review.csv") == said
    for row in rows(content.decode("utf-8-sig"))[1:]:
        cells = dict(zip(COLUMNS, row, strict=True))
        numbers = {"x0", "y0", "x1", "y1", "true_x0", "true_y0", "true_x1", "true_y1"}
        assert not any(cell[:1] in set("=+-@\t\r\n") for name, cell in cells.items() if name not in numbers and cell)


def test_a_file_is_a_table_by_its_name(tmp_path):
    said = template([judge(one.name, 0, one.runs[0].test, np.array([0.5, 0.5])) for one in BOTH])
    for name in ("review.csv", "REVIEW.CSV", "review.jsonl"):
        (tmp_path / name).write_bytes(review_csv.encode(said, Path(name)))
        assert review_csv.read(tmp_path / name) == said
    assert (tmp_path / "review.jsonl").read_bytes() == review.encode(said)
    with pytest.raises(DatasetError, match="a review file"):
        review_csv.read(tmp_path / "none.csv")


def test_what_a_german_spreadsheet_makes_of_it_is_the_same():
    said = decided(entry("", annotation=1, box=(0.5, 1.25, 10.0, 10.0)), entry("", image=2, detector="a", score=0.25))
    table = rows(review_csv.encode(said, TABLE).decode("utf-8-sig"))
    for row in table[1:]:
        row[0] = " Label Error" if row[COLUMNS.index("annotation")] else "TRUE false alarm "
        row[:] = [cell.replace(".", ",") if cell.replace(".", "").isdigit() else cell for cell in row]
    table = [[*row, "", ""] for row in [table[0], *reversed(table[1:]), [""] * len(COLUMNS)]]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";").writerows(table)

    found = review_csv.decode(b"\xef\xbb\xbf" + buffer.getvalue().encode(), "review.csv")

    assert [one.decision for one in found.entries] == ["true false alarm", "label error"]
    assert found.entries[1].box == (0.5, 1.25, 10.0, 10.0)
    assert found.header == said.header
    assert figures(found).adjudication is not None


def test_a_row_added_by_hand_needs_no_header_of_its_own():
    said = decided(entry("true miss", annotation=1))
    table = rows(review_csv.encode(said, TABLE).decode("utf-8-sig"))
    added = dict.fromkeys(COLUMNS, "") | {"decision": "unlabelled defect", "image": "test/00002.png", "x0": "30"}
    added |= {"category": "class0", "y0": "0", "x1": "40", "y1": "10"}
    buffer = io.StringIO()
    csv.writer(buffer).writerows([*table, list(added.values())])

    assert review_csv.decode(buffer.getvalue().encode(), "t").entries[1].box == (30, 0, 40, 10)


def test_everything_wrong_with_a_table_is_said_at_once():
    said = decided(*(entry("", annotation=k) for k in range(1, 6)))
    table = rows(review_csv.encode(said, TABLE).decode("utf-8-sig"))
    place = COLUMNS.index
    table[1][place("x0")] = "left"
    table[1][place("sampled")] = "perhaps"
    table[2][place("annotation")] = "1.5"
    table[3][place("category")] = ""
    table[4][place("dataset")] = "another"
    table[5][place("missed_by")] = "a, b"
    buffer = io.StringIO()
    csv.writer(buffer).writerows(table)

    with pytest.raises(DatasetError) as refused:
        review_csv.decode(buffer.getvalue().encode(), "review.csv")

    assert [fault.where for fault in refused.value.faults] == [
        "review.csv:2, x0", "review.csv:2, sampled", "review.csv:3, annotation", "review.csv:4, category",
        "review.csv:6, missed_by",
    ]  # fmt: skip
    assert [fault.found for fault in refused.value.faults][:2] == ["'left'", "'perhaps'"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "columns decision"),
        (b"decision,image,categry\n", "Did you mean 'category'"),
        (",".join(COLUMNS).encode() + b"\n", "the rows of a review"),
        (",".join((*COLUMNS, "note")).encode() + b"\n", "each column once"),
        ("decision;notiz\n;Lücke".encode("cp1252"), "CSV UTF-8"),
        (b'decision,note\n"' + b"x" * 200_000, "a table"),
    ],
)
def test_what_is_no_table_is_said(content, says):
    with pytest.raises(DatasetError, match=says):
        review_csv.decode(content, "review.csv")


def test_two_reviews_in_one_table_and_another_version_are_refused():
    one, other = (review_csv.encode(decided(entry("", annotation=k)), TABLE).decode("utf-8-sig") for k in (1, 2))
    mixed = one + other.split("\r\n")[1].replace("test-fingerprint", "another") + "\r\n"
    with pytest.raises(DatasetError, match="another in line 3"):
        review_csv.decode(mixed.encode(), "review.csv")
    later = Review(header=Header(review=2, dataset="d", split="test"), entries=[entry("", annotation=1)])
    with pytest.raises(DatasetError, match="version 1"):
        review_csv.decode(review_csv.encode(later, TABLE), "review.csv")


def test_a_table_is_held_to_the_same_words_as_lines():
    wrong = decided(entry("maybe", annotation=1))
    told = []
    for said in (wrong, review_csv.decode(review_csv.encode(wrong, TABLE), "review.csv")):
        with pytest.raises(DatasetError) as refused:
            figures(said)
        told.append(refused.value.faults)
    assert told[0] == told[1]
