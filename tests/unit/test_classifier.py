"""The classifier's arithmetic, its examples and its files, without a database."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from models.share import wilson
from tools.classifier import labelled, modelfile
from tools.classifier.features import READ_CHARS, Vocabulary, grams
from tools.classifier.labelled import ExamplesUnusable, Labelled
from tools.classifier.model import EVIDENCE, NEVER, Calibration, Facts, Model
from tools.classifier.modelfile import ModelUnusable
from tools.classifier.threshold import FEWEST, aim, lowest
from tools.classifier.training import train

ROOT = Path(__file__).parents[2]
WORDS = {
    "fruit": "apple pear plum cherry grape melon",
    "tools": "hammer saw chisel drill pliers file",
    "pets": "cat dog rabbit hamster parrot goldfish",
}


def examples(per_category: int = 30) -> Labelled:
    rows = [
        (f"{kind[n % 6]} and {kind[(n * 5 + n // 6 + 1) % 6]} number {n}", category)
        for category, words in WORDS.items()
        for kind in [words.split()]
        for n in range(per_category)
    ]
    return Labelled(tuple(text for text, _ in rows), tuple(category for _, category in rows))


@pytest.fixture(scope="module")
def model() -> Model:
    return train(examples(), precision=0.9).model


def test_the_lowest_threshold_that_keeps_the_precision_is_taken():
    confidence = np.linspace(0.99, 0.5, 100)
    right = np.ones(100, dtype=bool)
    right[[50, 60, 90, 91, 92, 93]] = False

    found = lowest(confidence, right, 0.97)

    assert found is not None
    assert (found.answered, found.right) == (90, 88)
    assert found.value == confidence[89]


def test_texts_of_one_confidence_are_answered_together_or_not_at_all():
    confidence = np.array([0.9] * 30 + [0.8] * 30)
    right = np.array([True] * 45 + [False] * 15)

    found = lowest(confidence, right, 0.98)

    assert found is not None
    assert found.answered == 30


def test_a_handful_of_right_answers_is_no_evidence_for_a_precision():
    few = np.full(FEWEST - 1, 0.9)

    assert lowest(few, np.ones(len(few), dtype=bool), 0.98) is None
    assert lowest(np.zeros(0), np.zeros(0, dtype=bool), 0.98) is None


def test_more_is_asked_of_the_examples_than_is_claimed():
    assert 0.98 < aim(0.98) < 0.99
    assert 0.95 < aim(0.95) < 0.97


def test_an_interval_holds_the_share_it_was_seen_with_and_narrows_with_evidence():
    low, high = wilson(98, 100)
    narrow = wilson(9_800, 10_000)

    assert low < 0.98 < high
    assert low < narrow[0] < 0.98 < narrow[1] < high
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(100, 100)[1] == pytest.approx(1)


def test_features_are_of_length_one_by_kind_whatever_the_text():
    vocabulary = Vocabulary.of(examples().texts)

    row = vocabulary.row("apple pear plum and hammer and apple")

    assert np.isclose(np.linalg.norm(row.values), np.sqrt(3), atol=1e-3)
    assert vocabulary.row("").columns.size == 0
    assert vocabulary.row("🙂 𝄞 \x00 שלום").words == 1


def test_a_huge_text_costs_no_more_than_its_beginning():
    assert grams("word " * 100_000) == grams(("word " * 100_000)[:READ_CHARS])


def test_a_model_answers_what_it_knows_and_leaves_the_rest(model):
    known, foreign, empty = model.predict(["apple and plum", "quarterly tax return", ""])

    assert (known.category, known.sure) == ("fruit", True)
    assert "apple" in known.telling
    assert not foreign.sure
    assert not empty.sure


def test_texts_of_the_category_out_of_scope_are_never_answered():
    found = examples()
    strange = tuple(f"weather in town {n} rain or sun" for n in range(30))
    both = Labelled((*found.texts, *strange), (*found.categories, *["out_of_scope"] * 30))

    prediction = train(both, precision=0.9).model.predict(["weather in town rain"])[0]

    assert not prediction.sure
    assert not prediction.in_scope
    assert prediction.category in WORDS


def test_examples_that_teach_nothing_make_a_model_that_answers_nothing():
    found = examples()
    chance = np.random.default_rng(7).integers(3, size=len(found.texts))
    torn = Labelled(found.texts, tuple("abc"[n] for n in chance))

    outcome = train(torn, precision=0.98)

    assert outcome.threshold is None
    assert outcome.model.facts.threshold == NEVER
    assert not any(each.sure for each in outcome.model.predict(found.texts))


def test_a_model_answers_the_same_after_its_file(model, tmp_path):
    path = tmp_path / "a.model"
    texts = [*examples().texts[:20], "something else"]

    modelfile.write(model, path)

    again = modelfile.read(path)
    assert again.hash == model.hash
    assert again.facts == model.facts
    assert again.predict(texts) == model.predict(texts)
    assert [each.name for each in tmp_path.iterdir()] == ["a.model"]


def test_training_twice_makes_the_same_model(model):
    assert train(examples(), precision=0.9).model.hash == model.hash


def tampered(path: Path, **parts: object) -> Path:
    with np.load(path, allow_pickle=False) as arrays:
        content = dict(arrays)
    content |= parts
    np.savez(path.with_suffix(".npz"), **content)
    return path.with_suffix(".npz")


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-500])
    return path


def no_zip(path: Path) -> Path:
    path.write_text("text,category\n")
    return path


def foreign_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "hello")
    return path


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.with_name("nobody.model"), "cannot be read: No such file"),
        (lambda path: path.parent, "cannot be read"),
        (cut, "damaged: train it again"),
        (no_zip, "not a model of `sluice train`"),
        (foreign_zip, "not a model of `sluice train`"),
        (
            lambda path: tampered(path, head=as_bytes('{"format": "recipes", "version": 1}')),
            "a file of 'recipes'",
        ),
        (
            lambda path: tampered(
                path, head=as_bytes('{"format": "sluice-classifier", "version": 2}')
            ),
            "written by a newer Sluice (format 2, this one reads up to 1)",
        ),
        (lambda path: tampered(path, head=as_bytes("{}")), "damaged"),
        (lambda path: tampered(path, intercept=np.zeros(7)), "do not fit together"),
        (lambda path: tampered(path, calibration=np.full(EVIDENCE + 3, np.nan)), "numbers that"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_a_sentence(model, tmp_path, spoil, said):
    path = tmp_path / "a.model"
    modelfile.write(model, path)

    with pytest.raises(ModelUnusable) as refused:
        modelfile.read(spoil(path))

    assert said in str(refused.value)


def test_a_file_with_a_pickle_inside_runs_nothing(model, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "a.model"
    modelfile.write(model, path)
    held = io.BytesIO()
    np.savez(held, head=np.array([Trap()], dtype=object))
    path.write_bytes(held.getvalue())

    with pytest.raises(ModelUnusable, match="damaged"):
        modelfile.read(path)

    assert not (tmp_path / "sprung").exists()


def csv_of(path: Path, rows: list[str], head: str = "text,category") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def enough() -> list[str]:
    return [f"text {n} of {kind},{kind}" for kind in ("a", "b") for n in range(12)]


def test_repeated_and_contradicting_examples_are_left_out_and_named(tmp_path):
    path = csv_of(
        tmp_path / "l.csv", [*enough(), "text 0 of a,a", "torn,a", "torn,b", "no category,"]
    )

    found = labelled.read(path)

    assert len(found.texts) == 24
    assert found.notes == (
        "line 29 has no text or no category: left out",
        "one text, two categories: 'a' in line 27, 'b' in line 28; left out",
        "1 repeated examples are counted once",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "needs a column 'text' or 'body' in its first line, which has nothing"),
        (b"question,category\nx,y\n", "which has 'question', 'category'"),
        (b"text,theme\nx,y\n", "needs a column 'category' or 'label' or 'intent'"),
        ("text,category\nschön,ä\n".encode("cp1252"), "line 2: not UTF-8 (byte 0xf6)"),
        (b"PK\x03\x04\x14\x00", "is an Excel file: save it as 'CSV UTF-8'"),
        (b'text,category\n"open,a\n', "not CSV"),
        (
            b"text,category\n" + b"".join(b"t%d,a\n" % n for n in range(12)) + b"x,b\n",
            "at least 10 different examples, better 60; 'b' has 1",
        ),
        (
            b"text,category\n" + b"".join(b"t%d,a\n" % n for n in range(12)),
            "needs examples of at least two categories",
        ),
        (b"category,text\n" + b"a," + b"x" * 90 + b"\n", "at least 10 different"),
        (b"text,category\n" + b"a," + b"x" * 90 + b"\n", "are the columns the right way round?"),
    ],
)
def test_examples_of_no_use_are_refused_with_a_sentence(tmp_path, content, said):
    path = tmp_path / "l.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ExamplesUnusable) as refused:
        labelled.read(path)

    assert said in str(refused.value)


def test_a_byte_order_mark_other_columns_and_other_names_are_no_trouble(tmp_path):
    path = tmp_path / "l.csv"
    rows = [f"{n},{row}" for n, row in enumerate(enough())]
    path.write_text("\n".join(["\ufeffid,Body,Intent", *rows]) + "\n")

    assert len(labelled.read(path).texts) == 24


def test_a_certain_classifier_does_not_exist():
    sure = Calibration(np.full(EVIDENCE, 1e9), 0.0, np.zeros(2))

    assert sure.chance(np.ones((1, EVIDENCE)))[0] < NEVER


def test_facts_name_a_threshold_within_reach_and_at_least_two_labels():
    with pytest.raises(ValueError, match="threshold"):
        Facts(labels=("a", "b"), threshold=0, precision=0.9, coverage=0, examples=1, training="")


def test_a_worker_does_not_load_scikit_learn():
    told = "import sys, worker.pipelines; print('sklearn' in sys.modules, 'scipy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, check=True)

    assert done.stdout.split() == [b"False", b"False"]
