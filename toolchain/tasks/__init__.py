"""What a sample, a context, a loss and a metric are. A new task is one new module here, with its class in `TASKS`."""

from mnet.toolchain.builtin import tasks
from mnet.toolchain.settings import find_part
from mnet.toolchain.tasks.supervised import Samples, SupervisedTask
from mnet.toolchain.tasks.task import Task

__all__ = ["Samples", "SupervisedTask", "Task", "find_task"]


def find_task(name: str) -> type[Task]:
    """The task `name`: a built-in one, or `package.module:Class`. Raises UserError."""
    task = find_part(name, tasks(), "task")
    assert issubclass(task, Task)
    return task
