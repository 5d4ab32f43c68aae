"""The list of guards says what is there: each guard, each test, and the table of the guarantees."""

import re

import pytest

from tests.mutants.__main__ import TREE, mutated, table
from tests.mutants.catalogue import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.removed)
def test_each_guard_and_each_test_is_where_the_list_says(mutant):
    file, _, test = mutant.test.partition("::")

    assert mutated((TREE / mutant.file).read_text(), mutant) != mutant.guard
    assert re.search(rf"^(async )?def {test}\(", (TREE / file).read_text(), re.MULTILINE)


def test_the_guarantees_list_every_mutant():
    guarantees = (TREE / "docs" / "guarantees.md").read_text()

    assert [line for line in table(MUTANTS) if line not in guarantees] == []
