"""Prints what is published to the subject "values" until the number 10 has come.

Needs the NATS client for Python: pip install nats-py
"""

import asyncio
import os

import nats


async def main():
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    finished = asyncio.Event()

    async def show(message):
        print(f"{message.subject}: {message.data.decode()}", flush=True)
        if message.data == b"10":
            finished.set()

    await connection.subscribe("values", cb=show)
    await connection.flush()
    print("waiting for values", flush=True)
    await finished.wait()
    await connection.close()


asyncio.run(main())
