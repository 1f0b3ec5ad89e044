"""Tables as sources: columns found or named, splits, boxes, masks; bad tables in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.config import load_config
from seewhy.data.sources.listing import Listing
from seewhy.data.sources.open_source import find_images
from seewhy.errors import DataError
from seewhy.runtime.progress import Silent

ROWS = [("a/1.png", "cat"), ("a/2.png", "cat"), ("b/3.png", "dog"), ("b/4.png", "dog")]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of four small pictures, each of one colour, and one that is no picture."""
    for k, (path, _) in enumerate(ROWS):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (12, 10), (40 * k, 0, 0)).save(tmp_path / path)
    return tmp_path


Write = Callable[..., Path]


@pytest.fixture
def write(pictures: Path) -> Write:
    def write(text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
        (pictures / name).write_bytes(text.encode(encoding))
        return pictures / name

    return write


def _list(source: Path, **data: object) -> Listing:
    settings = {f"data.{key}": value for key, value in data.items()}
    return find_images(load_config(str(source), settings=settings), Silent())


def _csv(rows: list[tuple[str, ...]], header: str = "path,label", delimiter: str = ",") -> str:
    lines = [header.replace(",", delimiter), *(delimiter.join(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _labels(listing: Listing) -> list[tuple[str, str]]:
    return [
        (path, listing.classes[label])
        for path, label in zip(listing.paths, listing.labels, strict=True)
    ]


def test_paths_and_labels_are_found(write: Write) -> None:
    listing = _list(write(_csv(ROWS)))
    assert _labels(listing) == ROWS
    assert listing.splits == (None,) * 4
    assert listing.load(1)[0, 0].tolist() == [40, 0, 0]
    assert listing.load_mask is None
    assert listing.metadata == {}
    assert listing.notes == ("labels.csv: 'path' holds paths, 'label' labels.",)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiter_and_encoding_are_found(write: Write, delimiter: str, encoding: str) -> None:
    rows = [(path, label.replace("dog", "hündin, groß")) for path, label in ROWS]
    listing = _list(write(_csv(rows, delimiter=delimiter), encoding=encoding))
    assert _labels(listing) == rows


def test_a_table_without_a_header_has_numbered_columns(write: Write) -> None:
    text = "".join(f"{path}    {label}   mono\n" for path, label in ROWS)
    listing = _list(write(text))
    assert _labels(listing) == ROWS
    assert listing.metadata == {"column 3": ("mono",) * 4}


def test_json_lines_json_and_parquet_are_the_same_table(write: Write, pictures: Path) -> None:
    records = [{"file_name": path, "species": label, "age": 3} for path, label in ROWS]
    lines = write("\n".join(json.dumps(one) for one in records), "metadata.jsonl")
    whole = write(json.dumps(records), "all.json")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(records), pictures / "all.parquet")
    for source in (lines, whole, pictures / "all.parquet", pictures):
        listing = _list(source)
        assert _labels(listing) == ROWS
        assert listing.metadata == {"age": ("3",) * 4}


def test_a_folder_with_class_folders_can_still_be_read_by_them(write: Write) -> None:
    folder = write(_csv(ROWS)).parent
    assert _list(folder).classes == ("cat", "dog")
    assert _list(folder, top_folders="classes").classes == ("a", "b")


def test_a_table_in_a_folder_that_is_not_clear_names_the_way_to_the_class_folders(
    write: Write,
) -> None:
    folder = write(
        "file_name,text\na/1.png,one\na/2.png,two\nb/3.png,three\n", "metadata.csv"
    ).parent
    with pytest.raises(DataError) as caught:
        _list(folder)
    assert "metadata.csv: no column looks like labels; name it with data.label" in str(caught.value)
    assert str(caught.value).endswith(
        "; set data.top_folders=classes to read the folder's class folders instead"
    )


def test_paths_with_backslashes_are_read(write: Write) -> None:
    rows = [(path.replace("/", "\\"), label) for path, label in ROWS]
    assert _labels(_list(write(_csv(rows)))) == ROWS


def test_columns_can_be_named(write: Write) -> None:
    rows = [(str(k), path, label, "x") for k, (path, label) in enumerate(ROWS)]
    source = write(_csv(rows, "label,where,kind,class"))
    assert _labels(_list(source, path="where", label="kind")) == ROWS
    # Without names: the column called label.
    assert _list(source, label="kind").metadata == {
        "label": ("0", "1", "2", "3"),
        "class": ("x",) * 4,
    }


def test_labels_are_found_by_what_a_column_holds(write: Write) -> None:
    rows = [(path, f"note {k}", label) for k, (path, label) in enumerate(ROWS)]
    assert _labels(_list(write(_csv(rows, "path,remark,kind")))) == ROWS


def test_splits_are_read_in_any_spelling_and_gaps_are_drawn(write: Write) -> None:
    splits = ["Training", "val", "TEST", ""]
    rows = [(*row, split) for row, split in zip(ROWS, splits, strict=True)]
    listing = _list(write(_csv(rows, "path,label,split")))
    assert listing.splits == ("train", "validation", "test", None)
    assert listing.metadata == {"split": tuple(splits)}


def test_a_column_called_set_that_holds_no_splits_is_metadata(write: Write) -> None:
    rows = [(*row, f"tray {k}") for k, row in enumerate(ROWS)]
    listing = _list(write(_csv(rows, "path,label,set")))
    assert listing.splits == (None,) * 4
    assert listing.metadata == {"set": ("tray 0", "tray 1", "tray 2", "tray 3")}


def test_a_second_table_is_the_test(write: Write, pictures: Path) -> None:
    train = write(_csv(ROWS))
    for k in range(4):
        Image.new("RGB", (8, 8)).save(pictures / f"t{k}.png")
    test = write(_csv([(f"t{k}.png", "cat" if k % 2 else "dog") for k in range(4)]), "test.csv")
    listing = find_images(load_config(str(train), test=str(test)), Silent())
    assert listing.splits == (None,) * 4 + ("test",) * 4
    both = write(_csv([*ROWS[:1], *[(f"t{k}.png", "cat") for k in range(3)]]), "both.csv")
    with pytest.raises(DataError, match=r"line 2: 'a/1.png' is in the test table and in line 2"):
        find_images(load_config(str(train), test=str(both)), Silent())


def test_missing_files_and_labels_are_set_aside_with_their_lines(write: Write) -> None:
    rows = [*ROWS, ("a/none.png", "cat"), ("a/1.png", ""), ("", "cat")]
    listing = _list(write(_csv(rows)))
    assert _labels(listing) == ROWS
    assert [(one.path, one.reason) for one in listing.set_aside] == [
        ("a/none.png", "line 6: there is no such file"),
        ("a/1.png", "line 7: has no label"),
        ("?", "line 8: has no path"),
    ]


def test_line_numbers_count_lines_of_cells_that_hold_several(write: Write) -> None:
    text = (
        'path,label,note\na/1.png,cat,"two\nlines"\na/2.png,cat,\n\nb/3.png,dog,\nb/4.png,dog,\n'
        "b/none.png,dog,\n"
    )
    listing = _list(write(text))
    assert listing.set_aside[0].reason == "line 8: there is no such file"


def test_names_without_suffix_find_their_files(write: Write) -> None:
    rows = [(path.removesuffix(".png"), label) for path, label in ROWS]
    assert _labels(_list(write(_csv(rows, "image_id,dx")))) == ROWS


def test_paths_start_from_the_root_that_is_named(write: Write, pictures: Path) -> None:
    elsewhere = pictures / "lists"
    elsewhere.mkdir()
    source = write(_csv(ROWS), "lists/labels.csv")
    with pytest.raises(DataError, match=r"none of its pictures can be used; the first: 'a/1.png'"):
        _list(source)
    assert _labels(_list(source, root=str(pictures))) == ROWS
    absolute = write(_csv([(str(pictures / path), label) for path, label in ROWS]), "abs.csv")
    assert _labels(_list(absolute)) == ROWS


def test_boxes_of_one_picture_are_one_mask(write: Write) -> None:
    rows = [(*row, "0", "0", "6", "5") for row in ROWS] + [("a/1.png", "cat", "6", "5", "12", "9")]
    listing = _list(write(_csv(rows, "path,label,left,top,right,bottom")))
    assert _labels(listing) == ROWS
    assert listing.load_mask is not None
    mask = listing.load_mask(0)
    assert mask.shape == (10, 12)
    assert mask.sum() == 6 * 5 + 6 * 4
    assert mask[:5, :6].all()
    assert mask[5:9, 6:].all()
    assert listing.load_mask(1).sum() == 30


def test_masks_are_read_and_damaged_ones_are_refused_alone(write: Write, pictures: Path) -> None:
    (pictures / "m").mkdir()
    white = np.zeros((10, 12), dtype=np.uint8)
    white[2:4, 3:9] = 255
    Image.fromarray(white).save(pictures / "m" / "1.png")
    Image.fromarray(white // 255).resize((24, 20)).save(pictures / "m" / "2.png")
    Image.new("L", (10, 10)).save(pictures / "m" / "3.png")
    (pictures / "m" / "4.png").write_bytes(b"no picture")
    rows = [(*row, f"m/{k}.png") for k, row in enumerate(ROWS, start=1)]
    listing = _list(write(_csv(rows, "path,label,mask")))
    assert listing.load_mask is not None
    assert (listing.load_mask(0) == (white > 0)).all()
    assert listing.load_mask(1).sum() == 4 * 12
    with pytest.raises(DataError, match=r"mask 3.png has 10 × 10 pixels, the picture 12 × 10"):
        listing.load_mask(2)
    with pytest.raises(DataError, match=r"mask 4.png cannot be read"):
        listing.load_mask(3)


def test_exports_of_labelling_tools(write: Write) -> None:
    coco = {
        "images": [{"id": k, "file_name": path} for k, (path, _) in enumerate(ROWS)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"image_id": k, "category_id": 7 if label == "cat" else 9, "bbox": [1, 2, 3, 4]}
            for k, (_, label) in enumerate(ROWS)
        ],
    }
    listing = _list(write(json.dumps(coco), "coco.json"))
    assert _labels(listing) == ROWS
    assert listing.load_mask is not None
    assert listing.load_mask(0)[2:6, 1:4].all()
    tasks = [
        {
            "data": {"image": f"/data/local-files/?d={path}", "site": "north"},
            "annotations": [
                {"was_cancelled": True, "result": []},
                {"result": [{"type": "choices", "value": {"choices": [label]}}]},
            ],
        }
        for path, label in ROWS
    ]
    listing = _list(write(json.dumps(tasks), "tasks.json"))
    assert _labels(listing) == ROWS
    assert listing.metadata == {"site": ("north",) * 4}


BAD = {
    "path\na/1.png\n": "labels.csv: has the single column 'path'; expected a column of paths and",
    "path,label\n": "labels.csv: holds no rows; expected a row per image",
    "": "labels.csv: holds no rows; expected a row per image",
    "path,label,label\na/1.png,cat,1\n": "labels.csv: has two columns named 'label'; rename one",
    "path,label\na/1.png,cat,3\n": "labels.csv, line 2: holds 3 cells, but the first line has 2",
    "a,b\n1,2\n3,4\n": "labels.csv: no column holds names of pictures; name it with data.path",
    "path,n\na/1.png,1\na/2.png,2\n": "labels.csv: no column looks like labels; name it with",
    "path,label\n../x.png,cat\n": "labels.csv, line 2: '../x.png' is outside ",
    "path,label\n/etc/x.png,cat\n": "labels.csv, line 2: '/etc/x.png' is outside ",
    "path,label\na/1.png,cat\na/1.png,dog\n": (
        "labels.csv, line 3: 'a/1.png' is labelled 'dog', but 'cat' in line 2; give each picture"
    ),
    "path,label,split\na/1.png,cat,train\na/2.png,cat,tset\n": (
        "labels.csv, line 3: the split 'tset' is none; expected train, validation or test"
    ),
    "path,label,left,top,right,bottom\na/1.png,cat,5,0,2,3\n": (
        "labels.csv, line 2: its box ends before it starts (left 5, top 0, right 2, bottom 3)"
    ),
    "path,label,left,top,right,bottom\na/1.png,cat,x,0,2,3\n": (
        "labels.csv, line 2: expected four numbers as a box, but got ['x', '0', '2', '3']"
    ),
    f"path,label\na/1.png,{'x' * 300}\n": "labels.csv, line 2: its label has 300 characters;",
    "path,label\na/none.png,cat\n": "none of its pictures can be used; the first: 'a/none.png',",
    _csv([*ROWS[:3], ("b/4.png", "cats")]): (
        "2 labels occur once: 'dog' (line 4), 'cats' (line 5); expected several pictures"
    ),
    _csv([ROWS[0], ROWS[1], ("b/3.png", "cat"), ("b/4.png", "catt")]): (
        "1 label occurs once: 'catt' (line 5); did you mean cat?; expected several pictures"
    ),
}


# Of tables whose column ``trust`` has the images' weights.
BAD_WEIGHTS = {
    "x": "line 3: data.weight: expected a number of at least 0 in column 'trust', but got 'x'",
    "-1": "line 3: data.weight: expected a number of at least 0 in column 'trust', but got '-1'",
    "nan": "line 3: data.weight: expected a number of at least 0 in column 'trust', but got 'nan'",
    "inf": "line 3: data.weight: expected a number of at least 0 in column 'trust', but got 'inf'",
    "": "line 3: data.weight: expected a number of at least 0 in column 'trust', but got ''",
}


@pytest.mark.parametrize("cell", BAD_WEIGHTS)
def test_bad_weights_are_named_with_their_line(write: Write, cell: str) -> None:
    rows = [(*row, cell if k == 1 else "2") for k, row in enumerate(ROWS)]
    with pytest.raises(DataError) as caught:
        _list(write(_csv(rows, "path,label,trust")), weight="trust")
    assert str(caught.value).endswith(f"labels.csv, {BAD_WEIGHTS[cell]}")


def test_weights_of_nothing_but_zero_and_two_weights_of_one_picture_are_refused(
    write: Write,
) -> None:
    zeros = [(*row, "0", "train") for row in ROWS]
    seen = [("a/1.png", "cat", "1", "test"), *zeros[1:]]
    for rows, line in ((zeros, 2), (seen, 3)):
        with pytest.raises(DataError) as caught:
            _list(write(_csv(rows, "path,label,trust,split")), weight="trust")
        assert str(caught.value).endswith(
            f"labels.csv, line {line}: the weights in column 'trust' are 0, here and in every "
            "other row; expected some above 0"
        )
    rows = [(*row, "1") for row in ROWS]
    table = write(_csv([*rows, ("b/4.png", "dog", "2")], "path,label,trust"))
    with pytest.raises(DataError, match=r"line 6: 'b/4.png' has another weight in line 5; give "):
        _list(table, weight="trust")


def test_weights_are_those_of_the_column_that_the_key_names(write: Write) -> None:
    weights = ("0", "1.5", "2e1", "3")
    rows = [(*row, weight) for row, weight in zip(ROWS, weights, strict=True)]
    for name in ("trust", "Sample weight", "weight"):
        listing = _list(write(_csv(rows, f"path,label,{name}")), weight=name)
        assert listing.weights is not None
        assert listing.weights.tolist() == [0, 1.5, 20, 3]
        assert listing.metadata == {}
        (note,) = listing.notes
        assert note.endswith(f"'label' labels, {name!r} weights in the training loss.")
        part = listing.subset([3, 1]).weights
        assert part is not None
        assert part.tolist() == [3, 1.5]


@pytest.mark.parametrize(
    "name", ["weight", "weights", "sample_weight", "Sample weight", "image-weight", "loss_weight"]
)
def test_a_column_called_weight_weights_nothing_by_itself(write: Write, name: str) -> None:
    """The weight of an animal or a rock is no weight of its picture, and may be unknown."""
    cells = ("812", "", "20 g", "-3")
    rows = [(*row, cell) for row, cell in zip(ROWS, cells, strict=True)]
    listing = _list(write(_csv(rows, f"path,label,{name}")))
    assert listing.weights is None
    assert listing.metadata == {name: cells}
    assert listing.notes[1] == (
        f"Column {name!r} does not weight the images; to weight them in training, set "
        f"data.weight={name}."
    )


def test_a_column_of_weights_is_no_column_of_labels(write: Write) -> None:
    """Two weights divide the rows as two kinds do."""
    rows = [(*row, str(k % 2)) for k, row in enumerate(ROWS)]
    listing = _list(write(_csv(rows, "path,what,sample_weight")))
    assert listing.classes == ("cat", "dog")
    assert list(listing.metadata) == ["sample_weight"]


def test_test_images_need_no_weights(write: Write, pictures: Path) -> None:
    rows = [("a/1.png", "cat", "2", ""), ("a/2.png", "cat", "", "test")]
    rows += [("b/3.png", "dog", "3", ""), ("b/4.png", "dog", "5", "test")]
    listing = _list(write(_csv(rows, "path,label,trust,split")), weight="trust")
    assert listing.weights is not None
    assert listing.weights.tolist() == [2, 1, 3, 5]
    train = write(_csv([(*row, "2") for row in ROWS[:1] + ROWS[2:3]], "path,label,trust"))
    test = write(_csv([ROWS[1], ROWS[3]]), "test.csv")
    listing = _list(train, weight="trust", test=str(test))
    assert listing.weights is not None
    assert listing.weights.tolist() == [2, 2, 1, 1]


@pytest.mark.parametrize("text", BAD)
def test_bad_tables_are_named_in_one_sentence(write: Write, text: str) -> None:
    with pytest.raises(DataError) as caught:
        _list(write(text))
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_near_ones(write: Write) -> None:
    with pytest.raises(DataError) as caught:
        _list(write(_csv(ROWS)), label="labels")
    assert str(caught.value).endswith(
        "labels.csv: has no column 'labels', which data.label names; did you mean label?; its "
        "columns are 'path', 'label'"
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("x.jsonl", '{"path": "a"}\n{broken', "x.jsonl, line 2: is no JSON ("),
        ("x.jsonl", "[1, 2]\n", "x.jsonl, line 1: expected an object with a path and a label"),
        ("x.json", "{}", "x.json: is JSON of another kind; expected a list of objects"),
        ("x.json", "[" * 100_000, "x.json: is no JSON ("),
        (
            "x.json",
            '{"images": [1], "annotations": [], "categories": []}',
            "x.json: is no COCO annotation file (TypeError",
        ),
        (
            "x.json",
            '[{"data": {}, "annotations": []}]',
            "x.json, entry 1: is no task of Label Studio",
        ),
    ],
)
def test_bad_files_are_named(write: Write, name: str, text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        _list(write(text, name))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_file_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"x.parquet: cannot be read as Parquet \("):
        _list(write("no", "x.parquet"))


@pytest.mark.parametrize(
    ("labels", "name"), [("skin/labels.csv", "skin"), ("my/cats.csv", "cats"), ("p.parquet", "p")]
)
def test_a_study_is_called_like_its_table_or_folder(labels: str, name: str) -> None:
    assert load_config(labels).name == name
