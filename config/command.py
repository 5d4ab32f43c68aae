"""The `sluice` command, put together from what each face brings along."""

import os
import sys
from importlib.metadata import EntryPoint, entry_points

import typer
from pydantic import ValidationError

from config.embedded import EmbeddedError
from config.policy_file import PolicyError
from config.settings import unknown_names

CANNOT, WRONG = 1, 2
"""Exit codes: something that should work does not; something that was said is wrong."""


def main() -> None:
    """Entry point of the `sluice` script; what goes wrong is said in a sentence."""
    if unknown := unknown_names(os.environ):
        _say(f"no such setting: {', '.join(unknown)}")
        sys.exit(WRONG)
    try:
        _app()()
    except ValidationError as error:
        _say("the settings (environment variables SLUICE_...) are wrong:")
        for fault in error.errors(include_input=False, include_url=False):
            _say(f"  {'.'.join(map(str, fault['loc'])) or 'together'}: {fault['msg']}")
        sys.exit(WRONG)
    except EmbeddedError as error:
        _say(str(error))
        sys.exit(CANNOT)
    except PolicyError as error:
        _say(str(error))
        sys.exit(WRONG)


def _app() -> typer.Typer:
    """The command that was asked for, or all of them; one command needs not load the others."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_sluice)
    found = sorted(entry_points(group="sluice.commands"), key=lambda each: each.name)
    asked = [each for each in found if each.name in sys.argv[1:2]]
    for each in asked or found:
        _add(app, each)
    return app


def _sluice() -> None:
    """Runs LLM-agent pipelines off a queue: once per request, inside hard budgets."""


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    command = entry.load()
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=entry.name)
    else:
        app.command(entry.name)(command)


def _say(sentence: str) -> None:
    typer.echo(f"sluice: {sentence}", err=True)


if __name__ == "__main__":
    main()
