"""Reading a backlog: every kind of bad file and bad row, each told in a sentence."""

import csv
import tracemalloc

import pytest

from producer.backlog import Use, read
from producer.rows import UnreadableBacklog

HEAD = "id,subject,body,created_at\n"


@pytest.fixture
def written(tmp_path):
    def write(content, name="b.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def rows_of(written):
    def rows(content, name="b.csv"):
        with read(written(content, name)) as backlog:
            return list(backlog)

    return rows


def told(row):
    return f"{row.place}: {row.why}"


def test_a_plain_file_is_all_tickets_and_other_columns_pass_through(rows_of):
    rows = rows_of("ID,Subject,Body,team\n1,s,text,care\n2,,more,\n")

    assert [row.use for row in rows] == [Use.TICKET, Use.TICKET]
    assert rows[0].ticket == ("1", "s", "text", None)
    assert rows[0].columns == {"team": "care"}


@pytest.mark.parametrize(("content", "name", "why"), [
    (b"PK\x03\x04rest", "b.xlsx", "an Excel or ZIP file"),
    (b"\xd0\xcf\x11\xe0rest", "b.xls", "an old Excel file"),
    (b"%PDF-1.7", "b.csv", "a PDF"),
    (b"\x1f\x8b\x08", "b.csv.gz", "compressed"),
    (b"", "b.csv", "is empty"),
    (b"  \n\n", "b.csv", "is empty"),
    (HEAD, "b.csv", "a header and no rows"),
    ("name,text\nx,y\n", "b.csv", "must name a column `id`"),
    ("1,where is it\n2,and mine\n", "b.csv", "must name a column `id`"),
    ("id,created_at\n1,2026\n", "b.csv", "one of text, body"),
    ('[{"id": 1, "text": "x"}]', "b.json", "one JSON array"),
    ("id,text\n1,x\n".encode("utf-16-le"), "b.csv", "UTF-16"),
])  # fmt: skip
def test_a_file_that_is_of_no_use_is_refused_with_a_way_out(written, content, name, why):
    with pytest.raises(UnreadableBacklog, match=why):
        read(written(content, name))


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "nosuch.csv"):
        with pytest.raises(UnreadableBacklog, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbf" + HEAD.encode() + b"1,s,text,\n",
    ("\ufeff" + HEAD + "1,s,text,\n").encode("utf-16-le"),
    (HEAD + "1,s,text,\n").encode("utf-16"),
    b"id;subject;body;created_at\r\n1;s;text;\r\n",
    b"id\tsubject\tbody\tcreated_at\n1\ts\ttext\t\n",
    b'"id","subject","body","created_at"\n"1","s","text",""\n',
    b"\n\nid,subject,body,created_at\n\n1,s,text,\n,,,\n",
])  # fmt: skip
def test_byte_order_marks_separators_and_blank_rows_are_taken_as_they_come(rows_of, content):
    rows = rows_of(content)

    assert [row.ticket for row in rows] == [("1", "s", "text", None)]


@pytest.mark.parametrize(("row", "why"), [
    (b",s,text,", "row 2: id is missing"),
    (b"1,s,  ,", "row 2: body is empty"),
    (b"1,s,text", "row 2: has 3 fields where the header names 4"),
    (b"1,s,text,2026,more", "row 2: has 5 fields where the header names 4"),
    (b"1,s,caf\xe9,", "row 2: body holds the byte 0xe9, which is no UTF-8"),
    (b"1,s,a\0b,", "row 2: body holds a NUL byte"),
    (b"1,s," + b"x" * 100_001 + b",", "row 2: body has 100,001 characters; at most 100,000 fit"),
    (b"x" * 151 + b",s,text,", "row 2: id has 151 characters; at most 150 fit"),
    (b"1," + b"x" * 1_001 + b",text,", "row 2: subject has 1,001 characters"),
    (b'1,s,"he said "hi" twice",', "row 2: the quotation marks of this row do not match"),
])  # fmt: skip
def test_a_bad_row_costs_itself_alone_and_says_where_and_why(rows_of, row, why):
    rows = rows_of(HEAD.encode() + row + b"\n2,s,fine,\n")

    assert told(rows[0]).startswith(why)
    assert [each.use for each in rows] == [Use.BAD, Use.TICKET]
    assert rows[1].ticket.id == "2"


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_rest(rows_of):
    rows = rows_of(HEAD + '1,s,"never closed,\n2,s,fine,\n3,s,"quoted, fine",\n')

    assert [(row.ticket.id, row.use) for row in rows] == [
        ("", Use.BAD), ("2", Use.TICKET), ("3", Use.TICKET),
    ]  # fmt: skip


def test_texts_keep_their_line_breaks_and_later_rows_are_found_by_row_and_by_line(rows_of):
    rows = rows_of(HEAD + '1,s,"one\ntwo\n\nthree",\n,s,text,\n')

    assert rows[0].ticket.text == "one\ntwo\n\nthree"
    assert told(rows[1]) == "row 3 (line 6): id is missing"


def test_the_same_row_twice_is_one_ticket_and_another_text_of_one_id_is_told(rows_of):
    rows = rows_of(HEAD + "1,s,text,\n1,s,text,\n1,s,other,\n")

    assert [row.use for row in rows] == [Use.TICKET, Use.TWICE, Use.CLASH]
    assert rows[1].why == "the same as row 2"
    assert rows[2].why == "id '1' stands in row 2 with another text; the first one counts"


def test_lines_of_json_that_are_broken_cost_themselves_alone(rows_of):
    rows = rows_of(
        '{"id": 7, "text": "number as id", "team": {"a": 1}}\n'
        "{broken\n\n"
        '["no object"]\n'
        '{"id": true, "text": "x"}\n'
        '{"id": "a", "text": 5}\n'
        '{"id": "b", "message": "line\u2028separator"}\n',
        "b.jsonl",
    )

    assert [row.use for row in rows] == [
        Use.TICKET, Use.BAD, Use.BAD, Use.BAD, Use.BAD, Use.TICKET,
    ]  # fmt: skip
    assert rows[0].ticket.id == "7"
    assert rows[0].columns == {"team": {"a": 1}}
    assert told(rows[1]).startswith("row 2: this is no JSON: ")
    assert told(rows[2]) == "row 4: a ticket is a JSON object"
    assert told(rows[3]) == "row 5: id is no text but bool"
    assert rows[5].ticket.text == "line\u2028separator"


def test_a_wrong_byte_in_a_column_that_is_not_read_does_not_cost_the_row(rows_of):
    rows = rows_of(b"id,text,team\n1,x,caf\xe9\n")

    assert rows[0].use is Use.TICKET
    assert rows[0].columns == {"team": "caf\N{REPLACEMENT CHARACTER}"}


def test_thousands_of_rows_are_read_without_holding_their_texts(tmp_path):
    path = tmp_path / "big.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([f"T-{n}", "Where is it? " * 100] for n in range(3_000))

    tracemalloc.start()
    with read(path) as backlog:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        count = sum(1 for _ in backlog.tickets())

    assert count == 3_000
    assert path.stat().st_size > 3_900_000
    assert peak < 1_900_000
