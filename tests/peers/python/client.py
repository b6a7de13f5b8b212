"""Drives a server with nats-py: one check for each thing that a client does.

The addresses of the servers and what they accept come from the environment.
"""

import asyncio
import os
import ssl
import sys
import time
from contextlib import asynccontextmanager

import nats
from nats.errors import MaxPayloadError, NoRespondersError

from checks import check, control, event, expect, expect_equal, run_all

URL = os.environ["NATS_URL"]
PASSWORD_URL = os.environ["PASSWORD_URL"]
TOKEN_URL = os.environ["TOKEN_URL"]
RESTART_URL = os.environ["RESTART_URL"]
LAME_DUCK_URL = os.environ["LAME_DUCK_URL"]
USER = os.environ["PEER_USER"]
PASSWORD = os.environ["PEER_PASSWORD"]
TOKEN = os.environ["PEER_TOKEN"]
TLS_URL = os.environ["TLS_URL"]
TLS_FIRST_URL = os.environ["TLS_FIRST_URL"]


@asynccontextmanager
async def client(url=URL, **options):
    """A connection that is closed at the end; errors that nobody expected fail the check."""
    errors = []

    async def on_error(error):
        errors.append(error)

    options.setdefault("error_cb", on_error)
    connection = await nats.connect(url, **options)
    try:
        yield connection
    finally:
        await connection.close()
    expect_equal(errors, [], "errors reported by the connection")


async def receive(subscription):
    """The next message, which must come."""
    return await event(subscription.next_msg(timeout=None), f"a message on {subscription.subject}")


async def payloads(subscription, count):
    """The payloads of the next messages."""
    return [(await receive(subscription)).data for _ in range(count)]


async def barrier(connection):
    """Returns when the server has handled all that this connection sent.

    nats-py writes the PING of a flush ahead of what waits in its buffer, and the buffer right
    after it: only the PING of a second flush follows everything.
    """
    await connection.flush()
    await connection.flush()


async def expect_nothing_more(connection, *subscriptions):
    """After a round trip everything sent before has arrived; nothing may be left."""
    await barrier(connection)
    for subscription in subscriptions:
        expect_equal(subscription.pending_msgs, 0, f"messages left on {subscription.subject}")


async def respond(connection, subject, **options):
    """Answers each request with its payload in capitals and with its headers."""

    async def answer(message):
        await connection.publish(message.reply, message.data.upper(), headers=message.headers)

    await connection.subscribe(subject, cb=answer, **options)
    await barrier(connection)


@check("publish-subscribe")
async def publish_subscribe():
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("greet.joe")
        await barrier(receiver)
        await sender.publish("greet.joe", b"hello")
        message = await receive(subscription)
        expect_equal((message.subject, message.data, message.reply), ("greet.joe", b"hello", ""), "message")
        await sender.publish("greet.joe", b"again", reply="answers.here")
        expect_equal((await receive(subscription)).reply, "answers.here", "reply subject")
        await expect_nothing_more(receiver, subscription)


@check("payload-bytes")
async def payload_bytes():
    sent = [b"", b"\r\n", b"+OK\r\nPING\r\nMSG a 1 0\r\n", bytes(range(256)) * 5, "grüße 🐘".encode(), b"\0"]
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("bytes")
        await barrier(receiver)
        for payload in sent:
            await sender.publish("bytes", payload)
        expect_equal(await payloads(subscription, len(sent)), sent, "payloads")


@check("order")
async def order():
    sent = [str(number).encode() for number in range(5000)]
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("order")
        await barrier(receiver)
        for payload in sent:
            await sender.publish("order", payload)
        expect(await payloads(subscription, len(sent)) == sent, "messages out of order")
        await expect_nothing_more(receiver, subscription)


@check("request")
async def request():
    async with client() as responder, client() as requester:
        await respond(responder, "shout")
        reply = await requester.request("shout", b"help me", timeout=20)
        expect_equal(reply.data, b"HELP ME", "reply")


@check("requests-in-flight")
async def requests_in_flight():
    async with client() as responder, client() as requester:
        await respond(responder, "many")
        numbers = range(200)
        replies = await asyncio.gather(
            *(requester.request("many", f"n{number}".encode(), timeout=20) for number in numbers)
        )
        wanted = [f"N{number}".encode() for number in numbers]
        expect_equal([reply.data for reply in replies], wanted, "replies")


@check("request-own-inbox")
async def request_own_inbox():
    async with client() as responder, client() as requester:
        await respond(responder, "old")
        for number in range(20):
            reply = await requester.request("old", f"o{number}".encode(), timeout=20, old_style=True)
            expect_equal(reply.data, f"O{number}".encode(), "reply")


@check("no-responders")
async def no_responders():
    async with client() as requester:
        for old_style in (False, True):
            started = time.monotonic()
            try:
                await requester.request("nobody.listens", b"?", timeout=20, old_style=old_style)
            except NoRespondersError:
                expect(time.monotonic() - started < 10, "the server's answer came too late")
            else:
                raise AssertionError("a reply came from nowhere")


@check("headers")
async def headers():
    sent = {"Kind": "greeting", "X-Empty": "", "traceparent": "00-abc-def-01", "Colon": "a: b:c"}
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("headers")
        await barrier(receiver)
        for payload in (b"with a body", b""):
            await sender.publish("headers", payload, headers=sent)
            message = await receive(subscription)
            expect_equal(message.data, payload, "payload")
            expect_equal(message.headers, sent, "headers")
        await sender.publish("headers", b"bare")
        expect_equal((await receive(subscription)).headers, None, "headers of a message without")


@check("headers-request")
async def headers_request():
    async with client() as responder, client() as requester:
        await respond(responder, "echo.headers")
        reply = await requester.request("echo.headers", b"x", timeout=20, headers={"Id": "42"})
        expect_equal((reply.data, reply.headers), (b"X", {"Id": "42"}), "reply")


@check("queue-group-spread")
async def queue_group_spread():
    total = 3000
    async with client() as one, client() as two, client() as three, client() as sender:
        members = [await member.subscribe("work", queue="workers") for member in (one, two, three)]
        for member in (one, two, three):
            await barrier(member)
        for number in range(total):
            await sender.publish("work", str(number).encode())
        await barrier(sender)
        for member in (one, two, three):
            await barrier(member)
        counts = [member.pending_msgs for member in members]
        expect_equal(sum(counts), total, f"messages taken in all by {counts}")
        expect(min(counts) > total / 3 * 0.8, f"uneven shares: {counts}")
        got = [number for member in members for number in await payloads(member, member.pending_msgs)]
        expect_equal(len(set(got)), total, "different messages")


@check("queue-group-each")
async def queue_group_each():
    async with client() as receiver, client() as sender:
        red = [await receiver.subscribe("jobs.*", queue="red") for _ in range(2)]
        blue = [await receiver.subscribe("jobs.new", queue="blue") for _ in range(2)]
        plain = await receiver.subscribe("jobs.>")
        await barrier(receiver)
        for _ in range(100):
            await sender.publish("jobs.new", b"job")
        await barrier(sender)
        await barrier(receiver)
        expect_equal(sum(member.pending_msgs for member in red), 100, "messages for the group red")
        expect_equal(sum(member.pending_msgs for member in blue), 100, "messages for the group blue")
        expect_equal(plain.pending_msgs, 100, "messages for the plain subscription")


async def expect_all_for_one(staying, sender):
    """Publishes to a queue group of which one member is left."""
    for number in range(100):
        await sender.publish("shift", str(number).encode())
    wanted = [str(number).encode() for number in range(100)]
    expect_equal(await payloads(staying, 100), wanted, "messages of the member that stays")


@check("queue-group-member-leaves")
async def queue_group_member_leaves():
    async with client() as stays, client() as leaves, client() as sender:
        staying = await stays.subscribe("shift", queue="crew")
        leaving = await leaves.subscribe("shift", queue="crew")
        await barrier(stays)
        await barrier(leaves)
        await leaving.unsubscribe()
        await barrier(leaves)
        await expect_all_for_one(staying, sender)


@check("queue-group-member-dies")
async def queue_group_member_dies():
    async with client() as stays, client() as dies, client() as sender:
        staying = await stays.subscribe("shift", queue="crew")
        await dies.subscribe("shift", queue="crew")
        await respond(dies, "still.alive")
        await barrier(stays)
        await dies.close()
        await noticed(sender, "still.alive")
        await expect_all_for_one(staying, sender)


async def noticed(connection, subject):
    """Waits until the server has noticed that nobody answers this subject any more."""
    while True:
        try:
            await connection.request(subject, b"?", timeout=0.5)
        except NoRespondersError:
            return
        except nats.errors.TimeoutError:
            pass


@check("unsubscribe")
async def unsubscribe():
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("stop")
        other = await receiver.subscribe("stop")
        await barrier(receiver)
        await sender.publish("stop", b"1")
        expect_equal((await receive(subscription)).data, b"1", "message before")
        await subscription.unsubscribe()
        await barrier(receiver)
        await sender.publish("stop", b"2")
        await barrier(sender)
        expect_equal(await payloads(other, 2), [b"1", b"2"], "messages of the other subscription")
        expect_equal(subscription.delivered, 1, "messages of the ended subscription")


@check("unsubscribe-after")
async def unsubscribe_after():
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("five")
        marker = await receiver.subscribe("five")
        await subscription.unsubscribe(limit=5)
        await barrier(receiver)
        for number in range(12):
            await sender.publish("five", str(number).encode())
        await payloads(marker, 12)
        expect_equal(await payloads(subscription, 5), [b"0", b"1", b"2", b"3", b"4"], "messages")
        await expect_nothing_more(receiver, subscription)
        expect_equal(receiver.stats["in_msgs"], 17, "messages that the server sent in all")


@check("unsubscribe-after-passed")
async def unsubscribe_after_passed():
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("late")
        marker = await receiver.subscribe("late")
        await barrier(receiver)
        for number in range(4):
            await sender.publish("late", str(number).encode())
        await payloads(marker, 4)
        # Fewer than have been delivered already: the subscription ends now.
        await subscription.unsubscribe(limit=2)
        await barrier(receiver)
        await sender.publish("late", b"after")
        await receive(marker)
        expect_equal(receiver.stats["in_msgs"], 9, "messages that the server sent in all")


@check("drain-subscription")
async def drain_subscription():
    got = []

    async def slowly(message):
        await asyncio.sleep(0)
        got.append(message.data)

    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("drain", cb=slowly)
        await barrier(receiver)
        for number in range(500):
            await sender.publish("drain", str(number).encode())
        await barrier(sender)
        await subscription.drain()
        expect_equal(got, [str(number).encode() for number in range(500)], "messages before the drain")
        await sender.publish("drain", b"after")
        await barrier(sender)
        await barrier(receiver)
        expect_equal(len(got), 500, "messages after the drain")


@check("drain-connection")
async def drain_connection():
    closed = asyncio.Event()
    errors = []

    async def on_closed():
        closed.set()

    async def on_error(error):
        errors.append(error)

    receiver = await nats.connect(URL, closed_cb=on_closed, error_cb=on_error)
    async with client() as sender:
        answers = await sender.subscribe("drained.answers")
        await barrier(sender)

        async def answer(message):
            await receiver.publish("drained.answers", message.data)

        await receiver.subscribe("drained", cb=answer)
        await barrier(receiver)
        for number in range(500):
            await sender.publish("drained", str(number).encode())
        await barrier(sender)
        await event(receiver.drain(), "the drain")
        await event(closed.wait(), "the connection closes after its drain")
        wanted = [str(number).encode() for number in range(500)]
        expect_equal(await payloads(answers, 500), wanted, "answers sent while draining")
    expect_equal(errors, [], "errors while draining")


@check("same-subject-twice")
async def same_subject_twice():
    async with client() as receiver, client() as sender:
        subscriptions = [await receiver.subscribe("twice") for _ in range(3)]
        await barrier(receiver)
        await sender.publish("twice", b"x")
        for subscription in subscriptions:
            expect_equal((await receive(subscription)).data, b"x", "copy of the message")
        await expect_nothing_more(receiver, *subscriptions)


@check("many-subjects")
async def many_subjects():
    async with client() as receiver, client() as sender:
        subscriptions = [await receiver.subscribe(f"many.{number}.subject") for number in range(2000)]
        everything = await receiver.subscribe("many.*.subject")
        await barrier(receiver)
        for number in range(2000):
            await sender.publish(f"many.{number}.subject", str(number).encode())
        await barrier(sender)
        await barrier(receiver)
        for number, subscription in enumerate(subscriptions):
            expect_equal((await receive(subscription)).data, str(number).encode(), f"message {number}")
        expect_equal(everything.pending_msgs, 2000, "messages for the wildcard")
        await expect_nothing_more(receiver, *subscriptions)


@check("many-connections")
async def many_connections():
    receivers = await asyncio.gather(*(nats.connect(URL) for _ in range(50)))
    try:
        subscriptions = [await receiver.subscribe("to.all") for receiver in receivers]
        await asyncio.gather(*(barrier(receiver) for receiver in receivers))
        async with client() as sender:
            for number in range(20):
                await sender.publish("to.all", str(number).encode())
            wanted = [str(number).encode() for number in range(20)]
            for subscription in subscriptions:
                expect_equal(await payloads(subscription, 20), wanted, "messages of one connection")
        expect_equal(len({receiver.client_id for receiver in receivers}), 50, "different client ids")
    finally:
        await asyncio.gather(*(receiver.close() for receiver in receivers))


@check("wildcards")
async def wildcards():
    wanted = {
        "w.*": ["w.a"],
        "w.*.c": ["w.a.c", "w.b.c"],
        "w.>": ["w.a", "w.a.c", "w.b.c", "w.b.d.e"],
        "*.b.*": ["w.b.c"],
        "*.*.*.e": ["w.b.d.e"],
        "w.a.c": ["w.a.c"],
        "W.a": [],
        "w.*.c.>": [],
    }
    async with client() as receiver, client() as sender:
        subscriptions = {subject: await receiver.subscribe(subject) for subject in wanted}
        await barrier(receiver)
        for subject in ("w", "w.a", "w.a.c", "w.b.c", "w.b.d.e", "v.w.a"):
            await sender.publish(subject, b"x")
        await barrier(sender)
        await barrier(receiver)
        for subject, subscription in subscriptions.items():
            got = [(await receive(subscription)).subject for _ in range(subscription.pending_msgs)]
            expect_equal(got, wanted[subject], f"subjects for {subject}")


@check("wildcards-overlapping")
async def wildcards_overlapping():
    async with client() as receiver, client() as sender:
        filters = ("over.lap.x", "over.*.x", "over.lap.*", "over.>", "*.*.*", "*.lap.>")
        subscriptions = [await receiver.subscribe(subject) for subject in filters]
        await barrier(receiver)
        await sender.publish("over.lap.x", b"x")
        for subscription in subscriptions:
            expect_equal((await receive(subscription)).subject, "over.lap.x", subscription.subject)
        await expect_nothing_more(receiver, *subscriptions)


@check("largest-payload")
async def largest_payload():
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("large")
        await barrier(receiver)
        largest = sender.max_payload
        expect_equal(largest, 1024 * 1024, "max_payload of the server")
        for size in (4095, 4096, 65535, 65536, 65537, largest - 1, largest):
            payload = (b"0123456789abcde" * (size // 15 + 1))[:size]
            await sender.publish("large", payload)
            expect((await receive(subscription)).data == payload, f"payload of {size} bytes")


@check("payload-too-large")
async def payload_too_large():
    async with client() as sender:
        try:
            await sender.publish("large", b"x" * (sender.max_payload + 1))
        except MaxPayloadError:
            await barrier(sender)
        else:
            raise AssertionError("a payload over max_payload was accepted")


@check("flush")
async def flush():
    async with client() as receiver, client() as sender:
        subscription = await receiver.subscribe("flushed")
        await barrier(receiver)
        for _ in range(3000):
            await sender.publish("flushed", b"0123456789")
        await barrier(sender)
        # The sender's PONG says that the server has delivered, the receiver's that all arrived.
        await barrier(receiver)
        expect_equal(subscription.pending_msgs, 3000, "messages after both flushes")
        expect_equal(subscription.pending_bytes, 30000, "bytes after both flushes")


@check("pending")
async def pending():
    async with client() as sender:
        expect_equal(sender.pending_data_size, 0, "bytes waiting on a fresh connection")
        await sender.publish("pending", b"x" * 1000)
        expect(sender.pending_data_size >= 1000, "the payload waits to be sent")
        await barrier(sender)
        expect_equal(sender.pending_data_size, 0, "bytes waiting after a flush")


@check("round-trip-time")
async def round_trip_time():
    async with client() as connection:
        seconds = await connection.rtt()
        expect(0 < seconds < 10, f"round trip of {seconds} s")


@check("echo-on")
async def echo_on():
    async with client() as connection:
        subscription = await connection.subscribe("echo")
        await connection.publish("echo", b"me")
        expect_equal((await receive(subscription)).data, b"me", "own message")


@check("echo-off")
async def echo_off():
    async with client(no_echo=True) as silent, client() as other:
        own = await silent.subscribe("no.echo")
        group = await silent.subscribe("no.echo", queue="group")
        await barrier(silent)
        for _ in range(10):
            await silent.publish("no.echo", b"mine")
        await barrier(silent)
        await other.publish("no.echo", b"theirs")
        expect_equal((await receive(own)).data, b"theirs", "message of the other connection")
        expect_equal((await receive(group)).data, b"theirs", "message for the group")
        await expect_nothing_more(silent, own, group)


@check("verbose")
async def verbose():
    async with client(verbose=True) as connection:
        subscription = await connection.subscribe("verbose")
        for number in range(50):
            await connection.publish("verbose", str(number).encode(), headers={"N": str(number)})
        wanted = [str(number).encode() for number in range(50)]
        expect_equal(await payloads(subscription, 50), wanted, "messages")
        await subscription.unsubscribe()
        await respond(connection, "verbose.request")
        reply = await connection.request("verbose.request", b"loud", timeout=20)
        expect_equal(reply.data, b"LOUD", "reply")


@check("pedantic")
async def pedantic():
    async with client(pedantic=True) as connection:
        subscription = await connection.subscribe("pedantic.*")
        await connection.publish("pedantic.x", b"x")
        expect_equal((await receive(subscription)).data, b"x", "message")


async def expect_refused(url, **options):
    """Connects with these credentials, which the server must refuse."""
    reported = []

    async def on_error(error):
        reported.append(str(error).lower())

    try:
        connection = await nats.connect(url, allow_reconnect=False, error_cb=on_error, **options)
    except Exception as error:  # the type differs between ways to be refused; the text does not
        reported.append(str(error).lower())
    else:
        await connection.close()
        raise AssertionError("the server let somebody in")
    expect(any("authorization violation" in text for text in reported), f"reasons: {reported}")


@check("password")
async def password():
    async with client(PASSWORD_URL, user=USER, password=PASSWORD) as connection:
        subscription = await connection.subscribe("private")
        await connection.publish("private", b"x")
        expect_equal((await receive(subscription)).data, b"x", "message")
        expect_equal(connection._server_info.get("auth_required"), True, "auth_required")


@check("password-refused")
async def password_refused():
    await expect_refused(PASSWORD_URL, user=USER, password="wrong")
    await expect_refused(PASSWORD_URL, user="nobody", password=PASSWORD)
    await expect_refused(PASSWORD_URL)


@check("token")
async def token():
    async with client(TOKEN_URL, token=TOKEN) as connection:
        subscription = await connection.subscribe("private")
        await connection.publish("private", b"x")
        expect_equal((await receive(subscription)).data, b"x", "message")


@check("token-refused")
async def token_refused():
    await expect_refused(TOKEN_URL, token="wrong")
    await expect_refused(TOKEN_URL)


def tls(with_certificate=True):
    """What the client trusts, and its own certificate."""
    context = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    if with_certificate:
        context.load_cert_chain(os.environ["CERT_FILE"], os.environ["KEY_FILE"])
    return context


async def expect_echo(connection):
    """More than one record goes there and comes back."""
    subscription = await connection.subscribe("echo")
    payload = bytes(range(256)) * 400
    await connection.publish("echo", payload)
    expect_equal((await receive(subscription)).data, payload, "payload")


@check("tls-certificate")
async def tls_certificate():
    async with client(TLS_URL, tls=tls()) as connection:
        expect_equal(connection._server_info.get("tls_verify"), True, "tls_verify")
        await expect_echo(connection)


@check("tls-first")
async def tls_first():
    options = {"tls": tls(False), "tls_handshake_first": True}
    async with client(TLS_FIRST_URL, **options) as connection:
        await expect_echo(connection)


@check("tls-refused")
async def tls_refused():
    stranger = ssl.create_default_context()
    for context in [tls(False), stranger]:
        options = {"tls": context, "allow_reconnect": False, "error_cb": ignore}
        try:
            connection = await nats.connect(TLS_URL, **options)
        except Exception:
            continue
        await connection.close()
        raise AssertionError("the connection was accepted")


async def ignore(_error):
    """The error is expected."""


@check("server-info")
async def server_info():
    async with client() as connection, client() as other:
        info = connection._server_info
        expect_equal(info["server_name"], "plain", "server_name")
        expect_equal(len(info["server_id"]), 56, "length of server_id")
        expect(info["server_id"].startswith("N"), "server_id is a server's public key")
        expect_equal(info["port"], connection.connected_url.port, "port")
        expect_equal(info["proto"], 1, "proto")
        expect_equal(info["headers"], True, "headers")
        expect_equal(info["max_payload"], 1024 * 1024, "max_payload")
        expect(not info.get("auth_required"), "auth_required on an open server")
        expect(not info.get("tls_required"), "tls_required on a server without TLS")
        version = connection.connected_server_version
        expect_equal((version.major, version.minor), (2, 15), "version")
        expect_equal(str(connection.client_ip), "127.0.0.1", "client_ip")
        expect(0 < connection.client_id < other.client_id, "client ids ascend")


async def reconnect(how):
    """A connection outlives its server and keeps its subscriptions."""
    gone, back = asyncio.Event(), asyncio.Event()

    async def on_gone():
        gone.set()

    async def on_back():
        back.set()

    async def on_error(_error):
        """The loss of the server is expected, however it shows."""

    options = dict(reconnect_time_wait=0.05, max_reconnect_attempts=-1, error_cb=on_error)
    async with client(
        RESTART_URL, disconnected_cb=on_gone, reconnected_cb=on_back, **options
    ) as receiver, client(RESTART_URL, **options) as sender:
        plain = await receiver.subscribe("kept.*")
        group = await receiver.subscribe("kept.*", queue="group")
        await barrier(receiver)
        first = receiver._server_info["server_id"]
        await control(how)
        await event(gone.wait(), "the loss of the server is noticed")
        await event(back.wait(), "the connection is back")
        await barrier(receiver)
        await event(answers_again(sender), "the sender is back")
        await sender.publish("kept.x", b"after")
        for subscription in (plain, group):
            expect_equal((await receive(subscription)).data, b"after", "message after the restart")
        expect(receiver._server_info["server_id"] != first, "a new server has a new id")


async def answers_again(connection):
    """Waits until a connection has found the server again."""
    while not connection.is_connected:
        await asyncio.sleep(0.01)
    await barrier(connection)


@check("reconnect")
async def reconnect_gracefully():
    await reconnect("restart")


@check("reconnect-after-crash")
async def reconnect_after_crash():
    await reconnect("crash")


closed_in_lame_duck = {}


@check("lame-duck")
async def lame_duck():
    told, closed = asyncio.Event(), asyncio.Event()

    async def on_told():
        told.set()

    async def on_closed():
        closed.set()

    async def on_error(_error):
        """The end of the server is expected, however it shows."""

    connection = await nats.connect(
        LAME_DUCK_URL,
        lame_duck_mode_cb=on_told,
        closed_cb=on_closed,
        error_cb=on_error,
        allow_reconnect=False,
    )
    subscription = await connection.subscribe("still.works")
    await barrier(connection)
    await control("lame-duck")
    await event(told.wait(), "the server says that it will go")
    await connection.publish("still.works", b"x")
    expect_equal((await receive(subscription)).data, b"x", "message in lame duck mode")
    closed_in_lame_duck["event"] = closed


@check("lame-duck-close")
async def lame_duck_close():
    await event(closed_in_lame_duck["event"].wait(), "the server closes the connection")
    await control("lame-duck-exit")


if __name__ == "__main__":
    sys.exit(asyncio.run(run_all()))
