// What each client is taken through; `node run.mjs` prints a line of JSON a step.
import { setTimeout as pause } from "node:timers/promises";

import { cut, released } from "./desk.mjs";
import { COUNT, CREATE, DELETE, EXECUTE, RECORD, UPLOAD, VIEWER } from "./documents.mjs";
import { follow } from "./follow.mjs";

const NOBODY = "00000000-0000-4000-8000-000000000000";
const SHORT_SECONDS = 3;

/** Code that leaves a mark, says "before", waits to be let go, and says "after". */
const waiting = (name) => `import os, time
with open("runs", "a") as runs:
    print("${name}", file=runs)
print("before", flush=True)
while not os.path.exists("${name}"):
    time.sleep(0.02)
print("after")`;

async function until(condition) {
  for (let left = 600; !(await condition()); left -= 1) {
    if (left === 0) throw new Error(`It did not come: ${condition}`);
    await pause(50);
  }
}

class Scenario {
  constructor(client, tokens, closes) {
    Object.assign(this, { client, tokens, closes });
  }

  async query() {
    return { viewer: (await this.client.query(VIEWER, {})).viewer.id };
  }

  async mutation() {
    this.sandboxId = (await this.client.mutate(CREATE, {})).createSandbox.sandbox.id;
    return { sandboxId: this.sandboxId };
  }

  async error() {
    const told = this.client.mutate(DELETE, { id: NOBODY }).catch((error) => error);
    const streamed = new Promise((resolve, reject) => {
      const input = { sandboxId: NOBODY, code: "1" };
      const sink = { next: reject, error: resolve, complete: reject };
      this.client.subscribe(EXECUTE, { input }, sink);
    });
    return { code: (await told).code, streamed: (await streamed).code };
  }

  live() {
    return this.#followed("live", async () => {});
  }

  async cancel() {
    const events = [];
    const stop = this.client.subscribe(EXECUTE, { input: this.#input("cancel") }, {
      next: ({ executeCode }) => events.push(executeCode),
      error: (error) => { throw error; },
      complete: () => {},
    });
    await until(() => events.some(({ text }) => text));
    stop();
    const seen = events.length;
    await until(() => released(0));
    await this.#letGo("cancel");
    const id = events[0].executionId;
    let record;
    await until(async () => {
      record = (await this.client.query(RECORD, { id })).execution;
      return record.status !== "RUNNING";
    });
    return { ...record, later: events.length - seen };
  }

  expiry() {
    this.tokens.shorten(SHORT_SECONDS);
    return this.#followed("expiry", (faults) =>
      until(() => this.closes.includes(4403) || faults.includes("UNAUTHENTICATED")),
    );
  }

  cut() {
    return this.#followed("cut", async (faults) => {
      const lost = () => this.closes.length + faults.length;
      const before = lost();
      await cut();
      await until(() => lost() > before || this.client.silent);
    });
  }

  /** Follow code to its end; `meanwhile` happens after its first output and before its second. */
  async #followed(name, meanwhile) {
    const events = [];
    const faults = [];
    this.closes.length = 0;
    const end = follow(
      this.client, this.#input(name), (event) => events.push(event), (error) => faults.push(error.code ?? "LOST"),
    );
    await Promise.race([until(() => events.some(({ text }) => text)), end]);
    const live = events.map(({ text }) => text ?? "").join("");
    const signed = this.tokens.signed;
    await meanwhile(faults);
    await this.#letGo(name);
    await end;
    const { executions, file } = (await this.client.query(COUNT, { id: this.sandboxId })).sandbox;
    return {
      live,
      seqs: events.map(({ seq }) => seq),
      text: events.map(({ text }) => text ?? "").join(""),
      status: events.at(-1).status,
      executions: executions.totalCount,
      runs: atob(file.content).split("\n").filter((line) => line === name).length,
      closes: [...this.closes],
      faults,
      signed: this.tokens.signed - signed,
    };
  }

  #input(name) {
    return { sandboxId: this.sandboxId, code: waiting(name), clientExecutionId: name };
  }

  #letGo(name) {
    const input = { sandboxId: this.sandboxId, path: name, content: "" };
    return this.client.mutate(UPLOAD, { input });
  }
}

export const STEPS = ["query", "mutation", "error", "live", "cancel", "expiry", "cut"];

/** Take a client through all steps; `tell` is given each one's name and what was seen. */
export async function play(client, tokens, closes, tell) {
  const scenario = new Scenario(client, tokens, closes);
  for (const step of STEPS) tell(step, await scenario[step]());
  await client.mutate(DELETE, { id: scenario.sandboxId });
  await client.close();
}
