"""Make a report's HTML file: no script, no address, no font of its own."""

import base64
from collections.abc import Iterable, Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from millrace.errors import ConfigurationError

DRAWN: Final[Mapping[str, str]] = {"matplotlib": "matplotlib", "jinja2": "Jinja2"}
"""Modules that every page with plots needs, and what people call them."""


def check_installed(needs: Mapping[str, str], extra: str, what: str, otherwise: str) -> None:
    """Fail before work is done whose outcome could not be shown.

    Parameters
    ----------
    needs : mapping of str to str
        Modules, and what people call them.
    extra : str
        Extra of the package that installs them.
    what : str
        What needs them.
    otherwise : str
        What else can be done.

    Raises
    ------
    ConfigurationError
        One is missing.
    """
    if missing := [name for module, name in needs.items() if find_spec(module) is None]:
        raise ConfigurationError(
            f"{what} needs {' and '.join(missing)}, not installed here; "
            f"install them with `pip install 'millrace[{extra}]'`, or {otherwise}"
        )


def render(package: str, template: str, plots: Iterable[tuple[str, str]], **values: Any) -> str:
    """Fill a template that extends ``base.html.jinja``.

    Parameters
    ----------
    package, template : str
        Where the template is.
    plots : iterable of (str, str)
        Titles and SVG documents; the template gets them as `images`, encoded.
    **values
        What else it gets.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - an extra; most do not need it

    folders = {"base.html.jinja": "millrace.reports", template: package}
    loader = FunctionLoader(lambda name: files(folders[name]).joinpath(name).read_text("utf-8"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    images = [(title, base64.b64encode(svg.encode()).decode()) for title, svg in plots]
    return environment.get_template(template).render(images=images, **values)


def write(page: str, path: Path) -> None:
    """Write a page; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
