"""`sluice train`: learn a user's own categories from their labelled examples."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tools.classifier import labelled, modelfile, shelf
from tools.classifier.labelled import ExamplesUnusable, Labelled
from tools.classifier.modelfile import ModelUnusable
from worker.commands import train_report

EXIT_UNUSABLE, EXIT_UNSURE = 2, 3
_LOWEST, _HIGHEST = 0.5, 0.999

console = Console()


def train(
    examples: Annotated[
        Path | None,
        typer.Argument(
            metavar="[LABELLED.csv]",
            help="CSV in UTF-8 with the columns text and category; rows of the category"
            " out_of_scope (or oos) are examples of what nobody handles. Without a file:"
            " the sample model, made ready.",
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(
            help="The share of its answers that must be right.", min=_LOWEST, max=_HIGHEST
        ),
    ] = 0.98,
    out: Annotated[
        Path | None, typer.Option(help="The model file; default: LABELLED.model beside it.")
    ] = None,
) -> None:
    """Train a classifier, say how far it can be trusted, and write it to a file.

    The file goes to `sluice triage --model FILE`.

    What is measured is measured on examples held back from the training.

    Exit codes: 0 trained; 2 the examples or the file are of no use; 3 trained,
    but at this precision it would leave every ticket to a person.
    """
    try:
        if examples is None:
            console.print(f"the sample model is ready: {shelf.sample_model()}", soft_wrap=True)
            return
        target = out or examples.with_suffix(".model")
        if target.resolve() == examples.resolve():
            raise ModelUnusable(f"{target} holds the examples: name another file with --out")
        found = labelled.read(examples)
        outcome = _learn(found, precision)
        modelfile.write(outcome.model, target)
    except (ExamplesUnusable, ModelUnusable) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"the model cannot be written: {error.strerror or error} ({error.filename})")
    train_report.show(console, outcome, found.notes)
    told = f"\nwritten to {target}\nuse it: sluice triage BACKLOG --model {target}"
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    if outcome.threshold is None:
        raise typer.Exit(EXIT_UNSURE)


def _learn(examples: Labelled, precision: float) -> Any:
    """Train, with a bar. Loaded here: no other command has to wait for scikit-learn."""
    training = import_module("tools.classifier.training")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading the examples", total=1.0)

        def progress(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        return training.train(examples, precision=precision, progress=progress)


def _refuse(why: str) -> NoReturn:
    typer.echo(f"sluice: {why}", err=True)
    raise typer.Exit(EXIT_UNUSABLE)
