"""ray-agents' sandbox module, without the rest of its package.

`import rayai.sandbox` runs the whole package's `__init__`: agents, model clients, Ray Serve;
0.5 s and 14 MB that a session never uses (measured with rayai 0.1.3). The package's place is
taken by an empty module of the same path, in the processes of sessions alone.
"""

import importlib.util
import sys
from types import ModuleType

if "rayai" not in sys.modules:
    _spec = importlib.util.find_spec("rayai")
    if _spec is None or _spec.submodule_search_locations is None:
        msg = "ray-agents is missing on this node: pip install 'rayai[sandbox]'"
        raise ImportError(msg)
    _package = ModuleType("rayai")
    _package.__path__ = list(_spec.submodule_search_locations)
    _package.__spec__ = _spec
    sys.modules["rayai"] = _package

from rayai.sandbox import config
from rayai.sandbox import executor as stock
from rayai.sandbox.tools import ACTOR_NAMESPACE
from rayai.sandbox.types import (
    ExecutionError,
    ExecutionResult,
    SessionStats,
    UploadError,
    UploadResult,
)

StockExecutor = stock.CodeInterpreterExecutor.__ray_metadata__.modified_class
"""The plain class behind ray-agents' actor."""
CONTAINER_PREFIX = stock.CONTAINER_NAME_PREFIX
STOCK_IMAGE = config.DEFAULT_IMAGE
ACTOR_PREFIX = "code-executor-"

__all__ = [
    "ACTOR_NAMESPACE",
    "ACTOR_PREFIX",
    "CONTAINER_PREFIX",
    "STOCK_IMAGE",
    "ExecutionError",
    "ExecutionResult",
    "SessionStats",
    "StockExecutor",
    "UploadError",
    "UploadResult",
]
