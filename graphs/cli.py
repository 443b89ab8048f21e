"""The `penstock` command: app's commands, and `serve`, which starts Ray and the graph."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.main import DEFAULT, File, app, fail, loaded, prepare
from graphs.launch import LaunchError, launch, preflight

__all__ = ["app"]


@app.command()
def serve(
    file: File = DEFAULT,
    *,
    dashboard_port: Annotated[int, typer.Option(help="Where `serve deploy` and `serve status` reach this Ray.")] = 8265,
    patience: Annotated[float, typer.Option(help="Seconds to wait until the graph answers.")] = 600,
) -> None:
    """Check FILE, prepare its models, start Ray and the graph, and say how to call it. Ctrl-C stops everything."""
    config = loaded(file)
    try:
        preflight(file, config, dashboard_port)
        prepare(config)
        launch(file, config, dashboard_port, patience)
    except LaunchError as error:
        fail(str(error), 1)
