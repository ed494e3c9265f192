"""Write ``docs/settings.md``: all choices as a page of Markdown."""

import json
import sys

from bids_sexclf.settings import RECIPE, People, Preparation, Recipe, Run, Study
from bids_sexclf.settings.records import say_allowed


def describe():
    """Return the page ``docs/settings.md``: all choices as Markdown.

    Returns
    -------
    str
    """
    lines = [
        "# Settings",
        "",
        "Written by `python -m bids_sexclf.settings`. Each choice is a flag (`--n-folds 5`), and a",
        "key of a study or configuration file (`n_folds = 5`). A flag overrides the configuration",
        "file, and the configuration file overrides the study.",
    ]
    shared = {*RECIPE, *People.model_fields}
    study_fields = {name: field for name, field in Study.model_fields.items() if name not in shared}
    preparation = Preparation.model_fields.items()
    preparation = {name: field for name, field in preparation if name not in People.model_fields}
    for record, fields in (
        (Run, Run.model_fields),
        (People, People.model_fields),
        (Preparation, preparation),
        (Study, study_fields),
        (Recipe, Recipe.model_fields),
    ):
        title = record.__doc__.split(":")[0]
        lines += ["", f"## {title}", "", "| choice | default | allowed values | meaning |"]
        lines += ["|---|---|---|---|"]
        schemas = record.model_json_schema()["properties"]
        for name, field in fields.items():
            shown = "" if field.default is None else json.dumps(field.default, default=str)
            cells = (f"`{name}`", f"`{shown}`" if shown else "", say_allowed(schemas[name]))
            lines.append(f"| {' | '.join(cells)} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(describe())
