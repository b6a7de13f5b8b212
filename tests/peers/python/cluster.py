"""Clients of a cluster whose nodes and paths fail, with nats-py.

Four connections: one publishes numbers, one receives them, one asks and one answers, all without a
pause. The test that starts this program says on its input, line by line, what it wants to know, and each
line gets one line of answer:

retry        gives the request under way up, which was lost, and asks again; `retry`
steady       waits until requests are answered and numbers arrive; `steady`
mark         `mark PUBLISHED ANSWERED FAILED`: how many so far
gaps A B     how many of the numbers from A to before B have not arrived: `gaps COUNT`
where        `where SENDER RECEIVER ASKER ANSWERER`: names of the servers they are connected to
check        `check DUPLICATES DISORDERED`: numbers that came twice, and that came after a larger one
end          closes all connections; `end`
"""

import asyncio
import os
import sys
import time

import nats

# Seconds between two numbers, and between two requests.
PAUSE = 0.002

# Seconds within which a request must be answered.
REQUEST_DEADLINE = 20

# Seconds within which a cluster that has lost a node must serve its clients again, on a busy machine.
STEADY_DEADLINE = 90

# Requests in a row that must be answered before a cluster counts as steady.
STEADY_REQUESTS = 20

ROLES = ["SENDER", "RECEIVER", "ASKER", "ANSWERER"]


class Party:
    """The connections and what they have seen."""

    def __init__(self):
        self.published = 0
        self.arrived = {}
        self.latest = -1
        self.disordered = 0
        self.answered = 0
        self.failed = 0
        self.in_a_row = 0
        self.connections = []
        # Set when the request under way is lost: the one that asks or answers has lost its server.
        self.lost = asyncio.Event()

    async def start(self):
        async def on_reconnect():
            self.lost.set()

        for role in ROLES:
            urls = os.environ[f"{role}_URLS"].split(",")
            asks_or_answers = role in ("ASKER", "ANSWERER")
            self.connections.append(await connect(urls, on_reconnect if asks_or_answers else None))
        sender, receiver, asker, answerer = self.connections

        async def on_number(message):
            number = int(message.data)
            self.arrived[number] = self.arrived.get(number, 0) + 1
            self.disordered += number < self.latest
            self.latest = max(self.latest, number)

        async def on_request(message):
            await message.respond(message.data)

        await receiver.subscribe("numbers", cb=on_number)
        await answerer.subscribe("service", cb=on_request)
        self.tasks = [asyncio.create_task(self.publish(sender)), asyncio.create_task(self.ask(asker))]

    async def publish(self, sender):
        while True:
            try:
                await sender.publish("numbers", str(self.published).encode())
            except nats.errors.Error:
                # Too much waits for a server. The number is lost, as those are that a lost server had.
                pass
            self.published += 1
            await asyncio.sleep(PAUSE)

    async def ask(self, asker):
        while True:
            is_right = await self.ask_once(asker, str(self.answered).encode())
            self.answered += is_right
            self.failed += not is_right
            self.in_a_row = self.in_a_row + 1 if is_right else 0
            await asyncio.sleep(PAUSE)

    async def ask_once(self, asker, question):
        self.lost.clear()
        asked = asyncio.create_task(asker.request("service", question, timeout=REQUEST_DEADLINE))
        lost = asyncio.create_task(self.lost.wait())
        await asyncio.wait([asked, lost], return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if not asked.done():
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            return False
        return asked.exception() is None and asked.result().data == question

    async def steady(self):
        self.in_a_row = 0
        begin = self.published
        end = time.monotonic() + STEADY_DEADLINE
        while self.in_a_row < STEADY_REQUESTS or self.latest < begin:
            if time.monotonic() > end:
                return f"not steady: {self.in_a_row} requests in a row, {self.latest} of {begin} arrived"
            await asyncio.sleep(0.01)
        return "steady"

    async def gaps(self, begin, end):
        deadline = time.monotonic() + STEADY_DEADLINE
        while self.latest < end - 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return f"gaps {sum(number not in self.arrived for number in range(begin, end))}"

    async def answer(self, words):
        match words:
            case ["retry"]:
                self.lost.set()
                return "retry"
            case ["steady"]:
                return await self.steady()
            case ["mark"]:
                return f"mark {self.published} {self.answered} {self.failed}"
            case ["gaps", begin, end]:
                return await self.gaps(int(begin), int(end))
            case ["where"]:
                names = [connection._server_info["server_name"] for connection in self.connections]
                return " ".join(["where", *names])
            case ["check"]:
                duplicates = sum(times > 1 for times in self.arrived.values())
                return f"check {duplicates} {self.disordered}"
            case ["end"]:
                for task in self.tasks:
                    task.cancel()
                for connection in self.connections:
                    await connection.close()
                return "end"
        return f"unknown: {words}"


async def ignore(_error):
    """The loss of servers is expected, however it shows."""


async def connect(urls, on_reconnect):
    return await nats.connect(
        urls,
        dont_randomize=True,
        connect_timeout=3,
        reconnect_time_wait=0.1,
        max_reconnect_attempts=-1,
        ping_interval=1,
        max_outstanding_pings=2,
        error_cb=ignore,
        reconnected_cb=on_reconnect,
    )


async def main():
    party = Party()
    await party.start()
    print("started", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = line.split()
        print(await party.answer(words), flush=True)
        if words == ["end"]:
            return


asyncio.run(main())
