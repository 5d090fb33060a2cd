"""The actor's calls that ray-agents' tools make: their names, their answers, our queue."""

import asyncio
import time
import uuid

from services.executor import containers
from services.executor.errors import ExecutorError
from services.executor.file_calls import FileCalls
from services.executor.messages import (
    ExecuteRequest,
    ExecutionKind,
    ExecutionRecord,
    ExecutionStatus,
)
from services.executor.rayagents import (
    ExecutionError,
    ExecutionResult,
    UploadError,
    UploadResult,
)
from services.executor.rayagents import SessionStats as StockStats


class ToolCalls(FileCalls):
    """Runs of tools go through the same queue and limits, and have no record."""

    async def execute(  # the name of its argument is ray-agents'
        self,
        code: str,
        timeout: int = 30,  # noqa: ASYNC109
    ) -> ExecutionResult | ExecutionError:
        """Run code by the same queue and limits as everybody's."""
        return await self._run_tool(code, timeout, shell=False)

    async def execute_shell(
        self,
        command: str,
        timeout: int = 30,  # noqa: ASYNC109
    ) -> ExecutionResult | ExecutionError:
        """Run a shell command by the same queue and limits as everybody's."""
        return await self._run_tool(command, timeout, shell=True)  # noqa: S604

    async def _run_tool(
        self, code: str, limit: float, *, shell: bool
    ) -> ExecutionResult | ExecutionError:
        execution_id = uuid.uuid4().hex
        try:
            session = self._open()
            most = session.spec.limits.tool_timeout_seconds
            seconds = min(max(float(limit), 0.1), most)
            execution = session.enqueue(
                ExecuteRequest(execution_id, code, seconds, kind=ExecutionKind.TOOL), shell=shell
            )
        except (ExecutorError, ValueError, TypeError) as error:
            return _tool_error(execution_id, type(error).__name__, str(error))
        await execution.ended.wait()
        return _tool_result(execution.record(), seconds)

    async def upload_file(self, path: str, content: bytes) -> UploadResult | UploadError:
        """Write a file of the workspace."""
        try:
            info = await self.write_file(path, bytes(content))
        except (ExecutorError, OSError) as error:
            return UploadError(status="error", error=str(error), error_type=type(error).__name__)
        return UploadResult(status="success", path=info.path, size=info.size_bytes)

    async def get_stats(self) -> StockStats:
        """Answer ray-agents' own statistics."""
        session = self._require(self._session)
        status = await asyncio.to_thread(containers.status, self.container)
        return StockStats(
            session_id=self.session_id,
            execution_count=session.execution_count,
            created_at=session.created_at,
            uptime=time.time() - session.created_at,
            container_status=status,
        )


def _tool_result(record: ExecutionRecord, limit: float) -> ExecutionResult | ExecutionError:
    if record.status is ExecutionStatus.TIMED_OUT:
        message = f"Execution timed out after {limit:g} seconds"
        return _tool_error(record.execution_id, "TimeoutError", message)
    if record.status is ExecutionStatus.LOST and record.error is not None:
        return _tool_error(record.execution_id, record.error.name, record.error.value)
    traceback = record.error.traceback if record.error is not None else ""
    return ExecutionResult(
        status="success" if record.exit_code == 0 else "error",
        stdout=record.stdout,
        stderr=record.stderr + traceback,
        exit_code=record.exit_code or 0,
        execution_id=record.execution_id,
    )


def _tool_error(execution_id: str, name: str, message: str) -> ExecutionError:
    return ExecutionError(status="error", error=message, error_type=name, execution_id=execution_id)
