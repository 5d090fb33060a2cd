// What a page does with the generated types; it is compiled, not run.
import type { CreateMutationVariables, ExecuteSubscription, RecordQuery } from "./operations.js";
import type { ErrorCode, ExecutionEvent, SandboxStatus } from "./schema.js";

type Event = ExecuteSubscription["executeCode"];

export function shown(event: Event): string {
  switch (event.__typename) {
    case "OutputChunk":
      return event.text;
    case "DisplayOutput":
      return event.data.text ?? "";
    case "ExecutionErrored":
      return event.error.traceback;
    case "ExecutionFinished":
      return `${event.status} after ${event.durationMs.toFixed(0)} ms`;
    default:
      return `${event.__typename} ${event.seq}`;
  }
}

export const variables: CreateMutationVariables = { input: { name: "page", metadata: { a: "b" } } };
export const nobodys: RecordQuery = { execution: null };
export const settled: SandboxStatus[] = ["RUNNING", "FAILED"];
export const again: ReadonlySet<ErrorCode> = new Set(["SERVICE_UNAVAILABLE", "RATE_LIMITED"]);
export const lastSeq = (events: Pick<ExecutionEvent, "seq">[]): number => events.at(-1)?.seq ?? 0;

// What is not there, is not there.
// @ts-expect-error - `start` is a Boolean
export const wrong: CreateMutationVariables = { input: { start: "yes" } };
// @ts-expect-error - there is no such code
export const unknown: ErrorCode = "TEAPOT";
// @ts-expect-error - a queued execution has no text
export const silent = (event: Extract<Event, { __typename: "ExecutionQueued" }>): string => event.text;
