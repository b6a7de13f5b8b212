"""Publishes the numbers 1 to 10 to the subject "values".

Needs the NATS client for Python: pip install nats-py
"""

import asyncio
import os

import nats


async def main():
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    for value in range(1, 11):
        await connection.publish("values", str(value).encode())
        print(f"published {value}")
    await connection.drain()


asyncio.run(main())
