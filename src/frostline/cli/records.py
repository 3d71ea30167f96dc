"""Commands whose parameters are records, and the edges of all commands: their output and how they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, get_type_hints

from frostline.cli.ending import as_a_program, ends_only_itself
from frostline.render.results import results_alone


def takes_records(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer fill the parameters of a command that are dataclasses, each of whose fields is an option.

    Typer reads the signature of a function; here a record is replaced by its fields there, and made of them
    when the command is called.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in signature(command).parameters.items():
        if name in records:
            parameters += _parameters_of(records[name])
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, record in records.items():
            given[name] = record(**{field.name: given.pop(field.name) for field in fields(record)})
        with as_a_program(), results_alone(), ends_only_itself():
            command(**given)

    run.__dict__["__signature__"] = signature(command).replace(parameters=parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters_of(record: Any) -> list[Parameter]:
    hints = get_type_hints(record, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(record)
    ]
