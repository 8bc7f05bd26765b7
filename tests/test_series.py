"""Reading a time series from CSV: what is understood, and what is refused with its place."""

from pathlib import Path

import numpy as np
import pytest

from node_core.series import read_series

DATA = Path(__file__).parents[1] / "examples" / "data"


@pytest.fixture
def csv(tmp_path):
    """A function that writes a CSV file and gives its path."""

    def write(content):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_the_hudson_bay_series_is_read_as_published():
    series = read_series(DATA / "hudson_bay.csv", "year")
    assert (series.time, series.columns, series.y.shape) == ("year", ("hare", "lynx"), (21, 2))
    assert (series.t[0], series.t[-1]) == (1900.0, 1920.0)
    np.testing.assert_array_equal(series.y[[0, 3]], [[30.0, 4.0], [77.4, 35.2]])
    assert str(series) == "21 rows, 2 state columns (hare, lynx), year from 1900 to 1920"


def test_times_are_told_with_all_their_digits(csv):
    series = read_series(csv("t,x\n20240101,1\n20240109.25,2\n"), "t")
    assert str(series).endswith("t from 20240101 to 20240109.25")
    with pytest.raises(ValueError, match=r"t 20240108 comes after 20240109;"):
        read_series(csv("t,x\n20240109,1\n20240108,2\n"), "t")


def test_columns_are_taken_by_name_in_the_order_asked_for(csv):
    path = csv("a,t,b,note\n1,0,10,x\n2,0.5,20,y\n")
    series = read_series(path, "t", ["b", "a"])
    assert series.columns == ("b", "a")
    np.testing.assert_array_equal(series.t, [0.0, 0.5])
    np.testing.assert_array_equal(series.y, [[10.0, 1.0], [20.0, 2.0]])
    assert str(read_series(path, "t", ["a"])) == "2 rows, 1 state column (a), t from 0 to 0.5"


def test_a_byte_order_mark_blank_lines_spaces_quotes_and_crlf_are_no_part_of_the_data(csv):
    series = read_series(csv(b'\xef\xbb\xbft , "x"\r\n\r\n0, 1.5 \r\n  ,\r\n1e0,"-2"\r\n\r\n'), "t")
    assert (series.time, series.columns) == ("t", ("x",))
    np.testing.assert_array_equal(series.t, [0.0, 1.0])
    np.testing.assert_array_equal(series.y, [[1.5], [-2.0]])


def test_head_keeps_the_first_rows(csv):
    head = read_series(csv("t,x\n0,1\n1,2\n2,3\n"), "t").head(2)
    np.testing.assert_array_equal(head.t, [0.0, 1.0])
    np.testing.assert_array_equal(head.y, [[1.0], [2.0]])


@pytest.mark.parametrize("content", ["", "\n\n", " , \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(csv, content):
    with pytest.raises(ValueError, match=r"data\.csv is empty; wanted a header line and rows of numbers"):
        read_series(csv(content), "t")


@pytest.mark.parametrize(("content", "rows"), [("t,x\n", "0 rows"), ("t,x\n0,1\n", "1 row")])
def test_less_than_two_rows_are_refused(csv, content, rows):
    with pytest.raises(ValueError, match=rf"data\.csv has {rows} of data; at least 2 are needed"):
        read_series(csv(content), "t")


@pytest.mark.parametrize(("time", "columns", "missing"), [("year", None, "year"), ("t", ["x", "z"], "z")])
def test_a_missing_column_is_refused_with_those_there(csv, time, columns, missing):
    with pytest.raises(ValueError, match=rf"data\.csv has no column '{missing}'; its columns are t, x, y"):
        read_series(csv("t,x,y\n0,1,2\n1,2,3\n"), time, columns)


@pytest.mark.parametrize("cell", ["abc", "nan", "inf", "", "1.5.0", "1e999"])
def test_a_cell_that_is_no_finite_number_is_refused_with_line_and_column(csv, cell):
    with pytest.raises(ValueError, match=r"data\.csv, line 4, column 'y': .* is not a finite number") as caught:
        read_series(csv(f"t,x,y\n0,1,2\n\n1,2,{cell or ' '}\n"), "t")
    assert repr(cell.strip()) in str(caught.value)


def test_a_time_that_is_no_number_is_refused_with_its_line(csv):
    with pytest.raises(ValueError, match=r"line 3, column 't': 'June' is not a finite number"):
        read_series(csv("t,x\n0,1\nJune,2\n"), "t")


@pytest.mark.parametrize(
    ("times", "message"),
    [((0, 2, 1), "line 4: t 1 comes after 2"), ((0, 1, 1), "line 4: t 1 repeats 1"), ((3, 2, 1), "line 3: t 2 comes")],
)
def test_times_that_do_not_increase_are_refused_with_the_line_and_what_to_do(csv, times, message):
    with pytest.raises(ValueError, match=rf"{message}.*times must increase from row to row \(sort the file"):
        read_series(csv("t,x\n" + "".join(f"{t},1\n" for t in times)), "t")


@pytest.mark.parametrize(("line", "cells"), [("1", 1), ("1,2,3", 3), ("1,2,", 3)])
def test_a_ragged_row_is_refused_with_its_line(csv, line, cells):
    with pytest.raises(ValueError, match=rf"data\.csv, line 3: {cells} cells, but the header has 2"):
        read_series(csv(f"t,x\n0,1\n{line}\n2,3\n"), "t")


def test_a_repeated_column_name_is_refused(csv):
    with pytest.raises(ValueError, match="the column name 'x' stands twice in the header"):
        read_series(csv("t,x,x\n0,1,2\n1,2,3\n"), "t")


def test_a_column_asked_for_twice_is_refused(csv):
    with pytest.raises(ValueError, match="the state column 'x' is asked for twice"):
        read_series(csv("t,x,y\n0,1,2\n1,2,3\n"), "t", ["x", "y", "x"])


@pytest.mark.parametrize(("content", "columns"), [("t\n0\n1\n", None), ("t,x\n0,1\n1,2\n", ["t"])])
def test_a_file_without_a_state_column_is_refused(csv, content, columns):
    with pytest.raises(ValueError, match="no state column is left beside the time column 't'"):
        read_series(csv(content), "t", columns)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00t\x00,", b"t,x\n0,\xe9\n"])
def test_a_file_that_is_not_utf8_is_refused(csv, content):
    with pytest.raises(ValueError, match=r"data\.csv is not a CSV file in UTF-8"):
        read_series(csv(content), "t")


def test_a_missing_file_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        read_series(tmp_path / "nowhere.csv", "t")
