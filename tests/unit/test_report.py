"""The report and the tables: escaped everywhere, nothing from the network, numbers that add up."""

import csv
import re
from decimal import Decimal

import pytest

from producer.backlog import Row, Ticket, Use
from producer.report_page import page
from producer.triage import Course, Outcome
from producer.triage_campaign import Autonomy, Campaign
from producer.triage_files import Replacement, Table, defused
from producer.triage_results import Result
from producer.triage_tally import Tally

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e$title ${body}"
CAMPAIGN = Campaign("spring", "local", Autonomy.OBSERVE)


def result(n=1, outcome=Outcome.ANSWERED, **more):
    row = Row(n, n, Use.TICKET, Ticket(f"T-{n}", "Parcel", "Where?", None), "", {})
    told = {
        "category": "delivery",
        "priority": "normal",
        "queue": "logistics",
        "run_id": "r",
        "confidence": 0.9,
        "decided_by": "model",
        "action": "proposed",
        "reply": "We look.",
    }
    return Result(row, outcome, **(told | more))


def report(*results, campaign=CAMPAIGN):
    tally, course = Tally(), Course(len(results))
    for each in results:
        tally.add(each)
    course.seconds = 1.5
    return page(campaign, tally, course, "backlog.csv")


@pytest.mark.parametrize("outcome", list(Outcome))
def test_nothing_from_a_ticket_reaches_the_page_unescaped_whatever_became_of_it(outcome):
    row = Row(1, 1, Use.TICKET, Ticket(NASTY, NASTY, NASTY, NASTY), NASTY, {NASTY: NASTY})
    names = ("why", "category", "priority", "queue", "decided_by", "because", "action", "reply")
    article = [{"title": NASTY, "path": NASTY}]
    each = Result(row, outcome, run_id="r", articles=article, **dict.fromkeys(names, NASTY))

    text = report(each, campaign=Campaign(NASTY, "local", Autonomy.ACT, NASTY))

    assert not re.search(r"<(script|img)", text)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("<html") == 1


def test_the_page_runs_no_script_and_asks_no_network():
    text = report(result())

    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://|\son\w+=", text)


def test_the_figures_are_those_of_the_rows():
    text = report(
        *(result(n) for n in range(6)),
        *(result(n, Outcome.TO_REVIEW, why="only 30 % sure", confidence=0.3) for n in range(3)),
        result(9, decided_by="person", spent_usd=Decimal("0.05")),
    )

    assert '<div class="big">60%</div>' in text
    assert "of 10 tickets answered without a person" in text
    assert "3 to review, and why" in text
    assert "0.05 USD" in text


def test_reasons_that_differ_in_a_number_or_a_quoted_word_are_one_reason():
    tally = Tally()
    for sure, name in ((31, "returns"), (32, "billing"), (40, "billing")):
        why = f"only {sure}% sure of '{name}', and 81% are needed"
        tally.add(result(1, Outcome.TO_REVIEW, why=why))
    tally.add(result(1, Outcome.TO_REVIEW, why="out of scope"))

    assert tally.reasons.most_common(9) == [
        ("only …% sure of …, and 81% are needed", 3), ("out of scope", 1),
    ]  # fmt: skip


def test_a_backlog_without_one_usable_row_has_a_report_too():
    bad = Row(2, 2, Use.BAD, Ticket("", "", "", None), "id is missing", {})

    text = report(Result(bad, Outcome.LEFT_OUT, why=bad.why))

    assert "Rows left out: 1" in text
    assert '<div class="big">0%</div>' in text


def test_long_lists_are_cut_and_say_how_many_more_there_are():
    text = report(*(result(n, Outcome.FAILED, why=f"tool_failed: {n}") for n in range(150)))

    assert "and 50 more, all in triage.csv" in text


@pytest.mark.parametrize(("cell", "written"), [
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("+1+1", "'+1+1"), ("@SUM(A1)", "'@SUM(A1)"),
    ("-2+3", "'-2+3"), ("  =1", "'  =1"), ("\t=1", "'\t=1"), ("-5", "-5"), ("+3.50", "+3.50"),
    ("plain", "plain"), ("a=b", "a=b"), ("", ""), (7, 7), ("+44 20 7946 0000", "'+44 20 7946 0000"),
])  # fmt: skip
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(cell, written):
    assert defused(cell) == written


def test_columns_of_the_backlog_pass_through_under_a_name_that_is_free(tmp_path):
    row = Row(2, 2, Use.TICKET, Ticket("1", "", "x", None), "", {"category": "old", "=t": True})
    with Replacement(tmp_path / "t.csv") as replacement:
        Table(replacement, ["category", "=t"]).add(Result(row, Outcome.ANSWERED, category="new"))

    with (tmp_path / "t.csv").open(newline="") as file:
        line = next(csv.DictReader(file))
    assert (line["category"], line["input_category"], line["'=t"]) == ("new", "old", "yes")


def test_a_file_that_could_not_be_finished_leaves_the_old_one(tmp_path):
    (tmp_path / "t.csv").write_text("old")

    def write_half() -> None:
        with Replacement(tmp_path / "t.csv") as replacement:
            replacement.file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t.csv", "old")]


def test_keys_tell_campaigns_autonomies_and_further_goings_over_apart_and_nothing_else():
    plans = [
        CAMPAIGN, Campaign("autumn", "local", Autonomy.OBSERVE),
        Campaign("spring", "local", Autonomy.ACT),
        Campaign("spring", "local", Autonomy.OBSERVE, again="x"),
    ]  # fmt: skip

    assert len({plan.key("T-1") for plan in plans}) == 4
    assert Campaign("spring", "other", Autonomy.OBSERVE, source="z", model="m").key("T-1") == (
        CAMPAIGN.key("T-1")
    )
