// Runs the checks of one client program, each with a deadline, and reports them by name.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";

// Milliseconds for one check on a busy machine; none takes a tenth of it on an idle one.
const CHECK_DEADLINE = 45_000;

// Milliseconds for one message or event that must come.
const EVENT_DEADLINE = 20_000;

const checks = [];
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Registers an async function as the check of this name. */
export function check(name, run) {
  checks.push({ name, run });
}

/** Waits for something that must happen. */
export async function event(promise, what) {
  return await within(EVENT_DEADLINE, promise, what);
}

/** Asks the test that started this program to do something, and waits until it is done. */
export async function control(action) {
  console.log(`control ${action}`);
  // The other side has deadlines of its own and answers in any case.
  const { value } = await answers.next();
  assert.equal(value, "done", `answer to ${action}`);
}

/** Runs every registered check in order; returns the exit status of the program. */
export async function runAll() {
  let failures = 0;
  for (const { name, run } of checks) {
    try {
      await within(CHECK_DEADLINE, run(), "the end of the check");
      console.log(`ok ${name}`);
    } catch (error) {
      failures += 1;
      console.error(error);
      console.log(`not ok ${name}: ${String(error?.message ?? error).split("\n")[0]}`);
    }
  }
  return failures === 0 ? 0 : 1;
}

async function within(deadline, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not happen within ${deadline} ms: ${what}`)), deadline);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
