"""Training as its user sees it: the command, its report and exit codes, and the sample model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import settings
from tools.classifier import classify, modelfile
from tools.classifier.labelled import Labelled
from tools.classifier.training import train

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"


def command(*words: str, data: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "SLUICE_DATA": str(data), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def pairs(kinds: dict[str, str]) -> Labelled:
    rows = [
        (f"{word} and {other} {n}", kind)
        for kind, words in kinds.items()
        for n in range(8)
        for word in words.split()
        for other in words.split()
        if word != other
    ]
    return Labelled(tuple(text for text, _ in rows), tuple(kind for _, kind in rows))


def test_a_training_says_what_it_measured_and_writes_its_model_beside_the_examples(tmp_path):
    examples = tmp_path / "mine.csv"
    examples.write_bytes((SAMPLES / "labelled.csv").read_bytes())

    done = command("config.command", "train", str(examples), "--precision", "0.95", data=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "581 examples of 7 categories" in done.stdout
    assert "claimed: at least 95.0% of its answers are right; measured:" in done.stdout
    assert "95 % interval" in done.stdout
    assert "out of scope:" in done.stdout
    assert "was taken for" in done.stdout
    assert modelfile.read(tmp_path / "mine.model").facts.precision == 0.95


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("text;category\na;b\n", 2, "needs a column 'text'"),
        ("".join(["text,category\n", *(f"the same {n},{'ab'[n % 7 % 2]}\n" for n in range(40))]),
         3, "it would answer nothing"),
    ],
)  # fmt: skip
def test_examples_that_do_not_do_end_in_a_sentence_and_an_exit_code(tmp_path, content, code, said):
    examples = tmp_path / "mine.csv"
    examples.write_text(content)

    done = command("config.command", "train", str(examples), data=tmp_path)

    assert done.returncode == code
    assert said in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_the_examples_are_never_overwritten(tmp_path):
    examples = tmp_path / "mine.csv"
    examples.write_bytes((SAMPLES / "labelled.csv").read_bytes())

    done = command("config.command", "train", str(examples), "--out", str(examples), data=tmp_path)

    assert done.returncode == 2
    assert examples.read_bytes() == (SAMPLES / "labelled.csv").read_bytes()


def test_two_processes_that_find_the_shelf_empty_at_once_leave_one_whole_model(tmp_path):
    env = {**os.environ, "SLUICE_DATA": str(tmp_path)}
    makers = [
        subprocess.Popen([sys.executable, "-m", "tools.classifier"], cwd=ROOT, env=env)
        for _ in range(2)
    ]

    assert [maker.wait(120) for maker in makers] == [0, 0]

    (model,) = (tmp_path / "models").glob("*.model")
    assert modelfile.read(model).facts.precision == settings().classifier.precision
    assert sorted(each.suffix for each in (tmp_path / "models").iterdir()) == [".lock", ".model"]


async def test_a_model_that_was_trained_again_is_loaded_again(tmp_path):
    path = tmp_path / "own.model"
    hashes = []

    for kinds in (
        {"fruit": "apple pear plum", "pets": "cat dog parrot"},
        {"food": "apple pear plum", "beasts": "cat dog parrot"},
    ):
        modelfile.write(train(pairs(kinds), precision=0.9).model, path)
        verdict = await classify.classify("cat and dog", model=str(path))
        hashes.append((verdict.prediction.category, verdict.hash))

    assert [category for category, _ in hashes] == ["pets", "beasts"]
    assert hashes[0][1] != hashes[1][1]
