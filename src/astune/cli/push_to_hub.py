"""``astune push-to-hub``: an adapter on the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from astune.cli.help import add_command
from astune.cli.options import AdapterArgument
from astune.console import print_result
from astune.json_text import json_text

RepoId = Annotated[str, typer.Argument(metavar="USER/NAME", help="Repository on the hub; made if it is not there.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
Revision = Annotated[
    str | None, typer.Option(metavar="BRANCH", help="Branch to write to, made if it is not there; by default main.")
]
License = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Licence of the adapter in the hub's words, such as cc-by-4.0; by default the one that the repository's card states.",
    ),
]
BaseModel = Annotated[
    str | None, typer.Option(metavar="USER/NAME", help="Hub id of the backbone, where the adapter names a folder.")
]
Include = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="A further file of the folder to share, such as model.onnx; may be repeated."),
]
Message = Annotated[str, typer.Option(metavar="TEXT", help="First line of the commit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was shared as one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the verb.

    Args:
        app: the command line.
    """
    add_command(
        app,
        "push-to-hub",
        push,
        examples=[
            "astune push-to-hub adapters/birds user/birds --license cc-by-4.0",
        ],
    )


def push(
    adapter: AdapterArgument,
    repo_id: RepoId,
    private: Private = False,
    revision: Revision = None,
    license: License = None,  # noqa: A002 - names the option
    base_model: BaseModel = None,
    include: Include = None,
    commit_message: Message = "Upload adapter with astune",
    as_json: AsJson = False,
) -> None:
    """Share an adapter on the Hugging Face hub, with its model card and without paths of this machine."""
    from astune.sharing import push_to_hub

    done = push_to_hub(
        adapter,
        repo_id,
        private=private,
        revision=revision,
        license=license,
        base_model=base_model,
        include=include or (),
        commit_message=commit_message,
    )
    if as_json:
        typer.echo(json_text(done.record()))
        return
    print_result(
        f"{done.url} ({'private' if done.private else 'public'}), commit {done.commit[:12]} on {done.revision}"
    )
    at = "" if done.revision == "main" else f"@{done.revision}"
    print_result(f"next:    astune predict {done.repo_id}{at} RECORDING")
