"""The serving room: the life of a job, and the workers that models run in."""

from node.serving.answer import Answer
from node.serving.errors import JobFailed, ModelBusy
from node.serving.residency import MachineMemory
from node.serving.serving import Serving, Statistics, open_serving
from node.serving.worker_process import Launcher, default_launcher

__all__ = [
    "Answer",
    "JobFailed",
    "Launcher",
    "MachineMemory",
    "ModelBusy",
    "Serving",
    "Statistics",
    "default_launcher",
    "open_serving",
]
