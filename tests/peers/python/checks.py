"""Runs the checks of one client program, each with a deadline, and reports them by name."""

import asyncio
import sys
import traceback

# Seconds for one check on a busy machine; none of them takes a tenth of it on an idle one.
CHECK_DEADLINE = 45

# Seconds for one message or event that must come.
EVENT_DEADLINE = 20

_checks = []


def check(name):
    """Registers a coroutine function as the check of this name."""

    def register(function):
        _checks.append((name, function))
        return function

    return register


def expect_equal(actual, wanted, what):
    """Fails the check unless both values are the same."""
    if actual != wanted:
        raise AssertionError(f"{what}: {actual!r} instead of {wanted!r}")


def expect(condition, what):
    """Fails the check unless the condition holds."""
    if not condition:
        raise AssertionError(what)


async def event(awaitable, what):
    """Waits for something that must happen."""
    try:
        return await asyncio.wait_for(awaitable, EVENT_DEADLINE)
    except asyncio.TimeoutError:
        raise AssertionError(f"did not happen within {EVENT_DEADLINE} s: {what}") from None


async def control(action):
    """Asks the test that started this program to do something, and waits until it is done."""
    print(f"control {action}", flush=True)
    loop = asyncio.get_running_loop()
    # The other side has deadlines of its own and answers in any case.
    answer = await loop.run_in_executor(None, sys.stdin.readline)
    expect_equal(answer.strip(), "done", f"answer to {action}")


async def _run_one(name, function):
    try:
        await asyncio.wait_for(function(), CHECK_DEADLINE)
    except asyncio.TimeoutError:
        print(f"not ok {name}: not finished after {CHECK_DEADLINE} s", flush=True)
    except Exception as error:  # any failure of a check is its result
        traceback.print_exc()
        print(f"not ok {name}: {type(error).__name__}: {error}", flush=True)
    else:
        print(f"ok {name}", flush=True)
        return True
    return False


async def run_all():
    """Runs every registered check in order; returns the exit status of the program."""
    passed = [await _run_one(name, function) for name, function in _checks]
    return 0 if all(passed) else 1
