"""``astune serve``: adapters over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import SecretStr

from astune.cli.help import add_command
from astune.cli.options import options_given, with_fields
from astune.serving.settings import ServeSettings

Adapters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ADAPTER...",
        help="Adapter folders, hub ids or .onnx files; NAME=PATH gives one another name than its folder's.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="ASTUNE_TOKEN",
        show_envvar=True,
        help="secret of those who may add and delete adapters in --adapters-dir; without it nobody can; other users of this machine see "
        "options, and do not see the variable",
    ),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(help="origin of web pages that may call the service, such as https://example.org; may be repeated"),
]


_EVERYDAY = (
    "host",
    "port",
    "adapters_dir",
    "token",
    "device",
    "runtime",
)  # what -h shows


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "serve",
        serve,
        examples=[
            "astune serve adapters/birds weather=adapters/weather --port 8000",
        ],
        everyday=_EVERYDAY,
    )


@with_fields(ServeSettings, without=("adapters", "token", "cors_origin"))
def serve(
    context: typer.Context,
    *,
    adapters: Adapters = None,
    token: Token = None,
    cors_origin: CorsOrigin = None,
    **fields: Any,
) -> None:
    """Serve many adapters over HTTP, with a page at /; Ctrl-C or SIGTERM ends it after what has begun is finished."""
    from astune.serving.settings import refuse_missing_packages

    refuse_missing_packages()
    from astune.serving.server import Server

    settings = ServeSettings(
        adapters=tuple(adapters or ()),
        token=token and SecretStr(token),
        cors_origin=tuple(cors_origin or ()),
        **options_given(context, fields),
    )
    Server(settings).run(typer.echo)
