"""MLflow's scoring server for a registered model, as an application to put a guard before."""

from __future__ import annotations

from typing import Any

from stages.tracking.store import connect, errors_translated, quiet, uri_in_environment


def scoring_application(uri: str) -> Any:
    """The ASGI application that MLflow serves the model `uri` with, models:/NAME@ALIAS or the like.

    Raises:
        TrackingError: there is no such model, it cannot be loaded, or MLflow fails.
    """
    connect()
    with errors_translated(f"loading {uri}"), uri_in_environment(), quiet():
        import mlflow.pyfunc
        from mlflow.pyfunc import scoring_server

        return scoring_server.init(mlflow.pyfunc.load_model(uri))
