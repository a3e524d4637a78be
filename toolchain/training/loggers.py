"""Where the curves of a fit go besides its own CSV file: Lightning's loggers, by name."""

import os
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from mnet.toolchain.errors import UserError

CSV = "csv"
LOGGERS = (CSV, "tensorboard", "mlflow", "wandb")


def check_logger(name: str) -> None:
    """Raises UserError for a logger that is unknown, or whose package is not installed."""
    if name not in LOGGERS:
        raise UserError(f"--logger {name} is unknown; it is one of {', '.join(LOGGERS)}")
    if name != CSV and find_spec(name) is None:
        raise UserError(f"--logger {name} needs the package {name}: pip install {name}")


def more_loggers(name: str, run: Path, fit: str) -> list[Logger]:
    """What `--logger NAME` adds for one fit of the run folder `run`; nothing for `csv`, which is always written.

    Logs of TensorBoard and MLflow lie in the run folder; `MLFLOW_TRACKING_URI` and the variables of W&B (`WANDB_MODE`,
    `WANDB_PROJECT`, ...) send them elsewhere.
    """
    if name == "tensorboard":
        return [TensorBoardLogger(run / "tensorboard", name=fit, version="")]
    if name == "mlflow":
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run / 'mlflow.db').resolve()}"
        return [MLFlowLogger(experiment_name=run.name, run_name=fit, tracking_uri=uri)]
    if name == "wandb":
        return [
            WandbLogger(
                name=f"{run.name} {fit}", save_dir=run, project=os.environ.get("WANDB_PROJECT", "mnet")
            )
        ]
    return []


def close_loggers(loggers: list[Logger]) -> None:
    """End what would take the next fit's curves into its own: a run of W&B stays open for the whole process."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
