"""What a sample, a context, a loss and a metric are. A new task is one module here and a line in `TASKS`."""

from mnet.toolchain.settings import find_part
from mnet.toolchain.tasks.supervised import Samples, SupervisedTask
from mnet.toolchain.tasks.task import Task

__all__ = ["Samples", "SupervisedTask", "Task", "find_task"]

TASKS = {
    "classification": "mnet.toolchain.tasks.classification:Classification",
    "recommendation": "mnet.toolchain.tasks.recommendation:Recommendation",
}


def find_task(name: str) -> type[Task]:
    """The task `name`: a built-in one, or `package.module:Class`. Raises UserError."""
    task = find_part(name, TASKS, "task")
    assert issubclass(task, Task)
    return task
