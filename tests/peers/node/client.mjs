// Drives a server with @nats-io/transport-node: one check for each thing that a client does.
// The addresses of the servers and what they accept come from the environment.

import assert from "node:assert/strict";
import { connect, createInbox, errors, headers as newHeaders } from "@nats-io/transport-node";
import { check, control, event, runAll } from "./checks.mjs";

const env = process.env;
const URL = env.NATS_URL;
const decoder = new TextDecoder();

/** Opens a connection to the plain server, or to the one that the options name. */
async function open(options = {}) {
  return await connect({ servers: URL, ...options });
}

/** Runs a check with new connections that are closed at the end; each must end without an error. */
async function withClients(count, run, options = {}) {
  const clients = await Promise.all(Array.from({ length: count }, () => open(options)));
  try {
    await run(...clients);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
  for (const client of clients) {
    assert.equal(await client.closed(), undefined, "the connection ended with an error");
  }
}

/** A subscription with what it has received so far and a way to wait for more. */
class Received {
  constructor(client, subject, options = {}) {
    this.messages = [];
    this.waiting = [];
    this.subscription = client.subscribe(subject, {
      ...options,
      callback: (error, message) => {
        assert.equal(error, null);
        this.messages.push(message);
        this.waiting.splice(0).forEach((wake) => wake());
      },
    });
  }

  /** Waits until this many messages have come in all, and returns them. */
  async atLeast(count) {
    while (this.messages.length < count) {
      const more = new Promise((resolve) => this.waiting.push(resolve));
      await event(more, `message ${this.messages.length + 1} of ${count} on ${this.subscription.getSubject()}`);
    }
    return this.messages;
  }

  get texts() {
    return this.messages.map((message) => decoder.decode(message.data));
  }

  get count() {
    return this.messages.length;
  }
}

/** After both round trips, all that the sender published has been handed to the receivers. */
async function settle(sender, ...receivers) {
  await sender.flush();
  await Promise.all(receivers.map((receiver) => receiver.flush()));
}

/** Answers each request with its payload in capitals and with its headers. */
async function respond(client, subject, options = {}) {
  client.subscribe(subject, {
    ...options,
    callback: (_error, message) => message.respond(message.string().toUpperCase(), { headers: message.headers }),
  });
  await client.flush();
}

const numbers = (count) => Array.from({ length: count }, (_, number) => String(number));

check("publish-subscribe", () =>
  withClients(2, async (receiver, sender) => {
    const received = new Received(receiver, "greet.joe");
    await receiver.flush();
    sender.publish("greet.joe", "hello");
    sender.publish("greet.joe", "again", { reply: "answers.here" });
    const [first, second] = await received.atLeast(2);
    assert.equal(first.subject, "greet.joe");
    assert.equal(first.string(), "hello");
    assert.ok(!first.reply);
    assert.equal(second.reply, "answers.here");
    await settle(sender, receiver);
    assert.equal(received.count, 2);
  }));

check("payload-bytes", () =>
  withClients(2, async (receiver, sender) => {
    const every = Uint8Array.from({ length: 1280 }, (_, index) => index % 256);
    const sent = ["", "\r\n", "+OK\r\nPING\r\nMSG a 1 0\r\n", "grüße 🐘", "\0"].map((text) => new TextEncoder().encode(text));
    sent.push(every);
    const received = new Received(receiver, "bytes");
    await receiver.flush();
    sent.forEach((payload) => sender.publish("bytes", payload));
    const messages = await received.atLeast(sent.length);
    assert.deepEqual(messages.map((message) => [...message.data]), sent.map((payload) => [...payload]));
  }));

check("order", () =>
  withClients(2, async (receiver, sender) => {
    const received = new Received(receiver, "order");
    await receiver.flush();
    numbers(20000).forEach((number) => sender.publish("order", number));
    await received.atLeast(20000);
    await settle(sender, receiver);
    assert.ok(received.texts.join() === numbers(20000).join(), "messages out of order");
  }));

check("request", () =>
  withClients(2, async (responder, requester) => {
    await respond(responder, "shout");
    const reply = await requester.request("shout", "help me", { timeout: 20_000 });
    assert.equal(reply.string(), "HELP ME");
  }));

check("requests-in-flight", () =>
  withClients(2, async (responder, requester) => {
    await respond(responder, "many");
    const requests = numbers(500).map((number) => requester.request("many", `n${number}`, { timeout: 20_000 }));
    const replies = await Promise.all(requests);
    assert.deepEqual(replies.map((reply) => reply.string()), numbers(500).map((number) => `N${number}`));
  }));

check("request-own-inbox", () =>
  withClients(2, async (responder, requester) => {
    await respond(responder, "own");
    for (const number of numbers(20)) {
      const options = { timeout: 20_000, noMux: true, reply: createInbox() };
      const reply = await requester.request("own", `o${number}`, options);
      assert.equal(reply.string(), `O${number}`);
    }
  }));

check("request-many", () =>
  withClients(2, async (responder, requester) => {
    for (let copy = 0; copy < 3; copy += 1) {
      await respond(responder, "all.answer");
    }
    const options = { strategy: "count", maxMessages: 3, maxWait: 20_000 };
    const replies = [];
    for await (const reply of await requester.requestMany("all.answer", "hi", options)) {
      replies.push(reply.string());
    }
    assert.deepEqual(replies, ["HI", "HI", "HI"]);
  }));

check("no-responders", () =>
  withClients(1, async (requester) => {
    for (const noMux of [false, true]) {
      const started = performance.now();
      const request = requester.request("nobody.listens", "?", { timeout: 20_000, noMux });
      await assert.rejects(request, (error) => {
        const cause = error.cause ?? error;
        assert.ok(error instanceof errors.RequestError || error instanceof errors.NoRespondersError, String(error));
        assert.ok(cause instanceof errors.NoRespondersError, String(cause));
        return true;
      });
      assert.ok(performance.now() - started < 10_000, "the server's answer came too late");
    }
  }));

check("headers", () =>
  withClients(2, async (receiver, sender) => {
    const sent = newHeaders();
    sent.append("Kind", "greeting");
    sent.append("Many", "one");
    sent.append("Many", "two");
    sent.append("X-Empty", "");
    sent.append("Colon", "a: b:c");
    const received = new Received(receiver, "headers");
    await receiver.flush();
    sender.publish("headers", "with a body", { headers: sent });
    sender.publish("headers", "", { headers: sent });
    sender.publish("headers", "bare");
    const [body, empty, bare] = await received.atLeast(3);
    for (const message of [body, empty]) {
      assert.equal(message.headers.get("Kind"), "greeting");
      assert.deepEqual(message.headers.values("Many"), ["one", "two"]);
      assert.equal(message.headers.get("X-Empty"), "");
      assert.equal(message.headers.get("Colon"), "a: b:c");
    }
    assert.equal(body.string(), "with a body");
    assert.equal(empty.string(), "");
    assert.equal(bare.headers, undefined);
  }));

check("headers-request", () =>
  withClients(2, async (responder, requester) => {
    await respond(responder, "echo.headers");
    const headers = newHeaders();
    headers.set("Id", "42");
    const reply = await requester.request("echo.headers", "x", { timeout: 20_000, headers });
    assert.equal(reply.string(), "X");
    assert.equal(reply.headers.get("Id"), "42");
  }));

check("queue-group-spread", () =>
  withClients(4, async (sender, ...members) => {
    const total = 3000;
    const shares = members.map((member) => new Received(member, "work", { queue: "workers" }));
    await Promise.all(members.map((member) => member.flush()));
    numbers(total).forEach((number) => sender.publish("work", number));
    await settle(sender, ...members);
    const counts = shares.map((share) => share.count);
    assert.equal(counts.reduce((sum, count) => sum + count), total, `taken in all: ${counts}`);
    assert.ok(Math.min(...counts) > (total / 3) * 0.8, `uneven shares: ${counts}`);
    assert.equal(new Set(shares.flatMap((share) => share.texts)).size, total, "different messages");
  }));

check("queue-group-each", () =>
  withClients(2, async (receiver, sender) => {
    const red = [1, 2].map(() => new Received(receiver, "jobs.*", { queue: "red" }));
    const blue = [1, 2].map(() => new Received(receiver, "jobs.new", { queue: "blue" }));
    const plain = new Received(receiver, "jobs.>");
    await receiver.flush();
    numbers(100).forEach((number) => sender.publish("jobs.new", number));
    await settle(sender, receiver);
    assert.equal(red[0].count + red[1].count, 100, "messages for the group red");
    assert.equal(blue[0].count + blue[1].count, 100, "messages for the group blue");
    assert.equal(plain.count, 100, "messages for the plain subscription");
  }));

/** Publishes to the queue group of both and expects that only the first member gets messages. */
async function expectAllForOne(staying, leaving, sender, stays) {
  const before = leaving.count;
  numbers(100).forEach((number) => sender.publish("shift", number));
  await staying.atLeast(100);
  await settle(sender, stays);
  assert.deepEqual(staying.texts, numbers(100));
  assert.equal(leaving.count, before);
}

check("queue-group-member-leaves", () =>
  withClients(3, async (stays, leaves, sender) => {
    const staying = new Received(stays, "shift", { queue: "crew" });
    const leaving = new Received(leaves, "shift", { queue: "crew" });
    await settle(stays, leaves);
    leaving.subscription.unsubscribe();
    await leaves.flush();
    await expectAllForOne(staying, leaving, sender, stays);
  }));

check("queue-group-member-dies", () =>
  withClients(3, async (stays, dies, sender) => {
    const staying = new Received(stays, "shift", { queue: "crew" });
    const leaving = new Received(dies, "shift", { queue: "crew" });
    await respond(dies, "still.alive");
    await stays.flush();
    await dies.close();
    await noticed(sender, "still.alive");
    await expectAllForOne(staying, leaving, sender, stays);
  }));

/** Waits until the server has noticed that nobody answers this subject any more. */
async function noticed(client, subject) {
  for (;;) {
    try {
      await client.request(subject, "?", { timeout: 500 });
    } catch (error) {
      if ((error.cause ?? error) instanceof errors.NoRespondersError) {
        return;
      }
    }
  }
}

check("unsubscribe", () =>
  withClients(2, async (receiver, sender) => {
    const ended = new Received(receiver, "stop");
    const other = new Received(receiver, "stop");
    await receiver.flush();
    sender.publish("stop", "1");
    await ended.atLeast(1);
    ended.subscription.unsubscribe();
    await receiver.flush();
    sender.publish("stop", "2");
    await other.atLeast(2);
    await settle(sender, receiver);
    assert.deepEqual([ended.texts, other.texts], [["1"], ["1", "2"]]);
    assert.equal(receiver.stats().inMsgs, 3, "messages that the server sent in all");
  }));

check("unsubscribe-after", () =>
  withClients(2, async (receiver, sender) => {
    const five = new Received(receiver, "five", { max: 5 });
    const marker = new Received(receiver, "five");
    await receiver.flush();
    numbers(12).forEach((number) => sender.publish("five", number));
    await marker.atLeast(12);
    await settle(sender, receiver);
    assert.deepEqual(five.texts, numbers(5));
    assert.equal(receiver.stats().inMsgs, 17, "messages that the server sent in all");
  }));

check("unsubscribe-after-passed", () =>
  withClients(2, async (receiver, sender) => {
    const late = new Received(receiver, "late");
    const marker = new Received(receiver, "late");
    await receiver.flush();
    numbers(4).forEach((number) => sender.publish("late", number));
    await marker.atLeast(4);
    // Fewer than have been delivered already: the subscription ends now.
    late.subscription.unsubscribe(2);
    await receiver.flush();
    sender.publish("late", "after");
    await marker.atLeast(5);
    await settle(sender, receiver);
    assert.equal(receiver.stats().inMsgs, 9, "messages that the server sent in all");
  }));

check("drain-subscription", () =>
  withClients(2, async (receiver, sender) => {
    const drained = new Received(receiver, "drain");
    await receiver.flush();
    numbers(500).forEach((number) => sender.publish("drain", number));
    await sender.flush();
    await event(drained.subscription.drain(), "the drain");
    assert.deepEqual(drained.texts, numbers(500), "messages before the drain");
    sender.publish("drain", "after");
    await settle(sender, receiver);
    assert.equal(drained.count, 500, "messages after the drain");
  }));

check("drain-connection", () =>
  withClients(1, async (sender) => {
    const receiver = await open();
    const answers = new Received(sender, "drained.answers");
    await sender.flush();
    receiver.subscribe("drained", {
      callback: (_error, message) => receiver.publish("drained.answers", message.data),
    });
    await receiver.flush();
    numbers(500).forEach((number) => sender.publish("drained", number));
    await sender.flush();
    await event(receiver.drain(), "the drain");
    assert.equal(await event(receiver.closed(), "the connection closes after its drain"), undefined);
    await answers.atLeast(500);
    assert.deepEqual(answers.texts, numbers(500), "answers sent while draining");
  }));

check("same-subject-twice", () =>
  withClients(2, async (receiver, sender) => {
    const copies = [1, 2, 3].map(() => new Received(receiver, "twice"));
    await receiver.flush();
    sender.publish("twice", "x");
    await settle(sender, receiver);
    copies.forEach((copy) => assert.deepEqual(copy.texts, ["x"]));
  }));

check("many-subjects", () =>
  withClients(2, async (receiver, sender) => {
    const each = numbers(5000).map((number) => new Received(receiver, `many.${number}.subject`));
    const everything = new Received(receiver, "many.*.subject");
    await receiver.flush();
    numbers(5000).forEach((number) => sender.publish(`many.${number}.subject`, number));
    await everything.atLeast(5000);
    await settle(sender, receiver);
    each.forEach((one, number) => assert.deepEqual(one.texts, [String(number)]));
    assert.deepEqual(everything.texts, numbers(5000));
  }));

check("many-connections", () =>
  withClients(51, async (sender, ...receivers) => {
    const all = receivers.map((receiver) => new Received(receiver, "to.all"));
    await Promise.all(receivers.map((receiver) => receiver.flush()));
    numbers(20).forEach((number) => sender.publish("to.all", number));
    await settle(sender, ...receivers);
    all.forEach((one) => assert.deepEqual(one.texts, numbers(20)));
    assert.equal(new Set(receivers.map((receiver) => receiver.info.client_id)).size, 50, "different client ids");
  }));

check("wildcards", () =>
  withClients(2, async (receiver, sender) => {
    const wanted = {
      "w.*": ["w.a"],
      "w.*.c": ["w.a.c", "w.b.c"],
      "w.>": ["w.a", "w.a.c", "w.b.c", "w.b.d.e"],
      "*.b.*": ["w.b.c"],
      "*.*.*.e": ["w.b.d.e"],
      "w.a.c": ["w.a.c"],
      "W.a": [],
      "w.*.c.>": [],
    };
    const received = Object.keys(wanted).map((subject) => [subject, new Received(receiver, subject)]);
    await receiver.flush();
    ["w", "w.a", "w.a.c", "w.b.c", "w.b.d.e", "v.w.a"].forEach((subject) => sender.publish(subject, "x"));
    await settle(sender, receiver);
    for (const [subject, { messages }] of received) {
      assert.deepEqual(messages.map((message) => message.subject), wanted[subject], `subjects for ${subject}`);
    }
  }));

check("wildcards-overlapping", () =>
  withClients(2, async (receiver, sender) => {
    const filters = ["over.lap.x", "over.*.x", "over.lap.*", "over.>", "*.*.*", "*.lap.>"];
    const received = filters.map((subject) => new Received(receiver, subject));
    await receiver.flush();
    sender.publish("over.lap.x", "x");
    await settle(sender, receiver);
    received.forEach(({ messages }) => assert.deepEqual(messages.map((message) => message.subject), ["over.lap.x"]));
  }));

check("largest-payload", () =>
  withClients(2, async (receiver, sender) => {
    const received = new Received(receiver, "large");
    await receiver.flush();
    const largest = sender.info.max_payload;
    assert.equal(largest, 1024 * 1024);
    const sizes = [4095, 4096, 65535, 65536, 65537, largest - 1, largest];
    const sent = sizes.map((size) => Buffer.alloc(size, "0123456789abcde"));
    sent.forEach((payload) => sender.publish("large", payload));
    const messages = await received.atLeast(sent.length);
    messages.forEach((message, index) => assert.ok(sent[index].equals(message.data), `payload of ${sizes[index]} bytes`));
  }));

check("payload-too-large", () =>
  withClients(1, async (sender) => {
    assert.throws(() => sender.publish("large", new Uint8Array(sender.info.max_payload + 1)), errors.InvalidArgumentError);
    await sender.flush();
  }));

check("flush", () =>
  withClients(2, async (receiver, sender) => {
    const received = new Received(receiver, "flushed");
    await receiver.flush();
    numbers(10000).forEach(() => sender.publish("flushed", "0123456789"));
    // The sender's PONG says that the server has delivered, the receiver's that all arrived.
    await sender.flush();
    await receiver.flush();
    assert.equal(received.count, 10000);
  }));

check("pending", () =>
  withClients(2, async (receiver, sender) => {
    const subscription = receiver.subscribe("pending");
    await receiver.flush();
    numbers(100).forEach((number) => sender.publish("pending", number));
    await settle(sender, receiver);
    assert.equal(subscription.getReceived(), 100, "messages received");
    assert.equal(subscription.getPending(), 100, "messages that wait for the program");
    const got = [];
    for await (const message of subscription) {
      got.push(message.string());
      if (got.length === 100) break;
    }
    assert.deepEqual(got, numbers(100));
  }));

check("statistics", () =>
  withClients(2, async (receiver, sender) => {
    const received = new Received(receiver, "counted");
    await receiver.flush();
    numbers(10).forEach(() => sender.publish("counted", "12345"));
    await received.atLeast(10);
    assert.deepEqual([receiver.stats().inMsgs, sender.stats().outMsgs], [10, 10]);
  }));

check("round-trip-time", () =>
  withClients(1, async (client) => {
    const milliseconds = await client.rtt();
    assert.ok(milliseconds >= 0 && milliseconds < 10_000, `round trip of ${milliseconds} ms`);
  }));

check("echo-on", () =>
  withClients(1, async (client) => {
    const received = new Received(client, "echo");
    client.publish("echo", "me");
    await received.atLeast(1);
    assert.deepEqual(received.texts, ["me"]);
  }));

check("echo-off", () =>
  withClients(1, async (other) => {
    const silent = await open({ noEcho: true });
    const own = new Received(silent, "no.echo");
    const group = new Received(silent, "no.echo", { queue: "group" });
    numbers(10).forEach(() => silent.publish("no.echo", "mine"));
    await silent.flush();
    other.publish("no.echo", "theirs");
    await settle(other, silent);
    assert.deepEqual([own.texts, group.texts], [["theirs"], ["theirs"]]);
    await silent.close();
  }));

check("verbose", () =>
  withClients(1, async (client) => {
    const received = new Received(client, "verbose");
    numbers(50).forEach((number) => client.publish("verbose", number));
    await received.atLeast(50);
    assert.deepEqual(received.texts, numbers(50));
    received.subscription.unsubscribe();
    await respond(client, "verbose.request");
    const reply = await client.request("verbose.request", "loud", { timeout: 20_000 });
    assert.equal(reply.string(), "LOUD");
  }, { verbose: true }));

check("pedantic", () =>
  withClients(1, async (client) => {
    const received = new Received(client, "pedantic.*");
    client.publish("pedantic.x", "x");
    await received.atLeast(1);
    assert.deepEqual(received.texts, ["x"]);
  }, { pedantic: true }));

/** A connection with these credentials must be let in. */
async function expectAdmitted(options) {
  const client = await open(options);
  const received = new Received(client, "private");
  client.publish("private", "x");
  await received.atLeast(1);
  assert.equal(client.info.auth_required, true, "auth_required");
  await client.close();
}

/** A connection with these credentials must be refused, with the server's reason. */
async function expectRefused(options) {
  await assert.rejects(open({ ...options, reconnect: false }), (error) => {
    assert.ok(error instanceof errors.AuthorizationError, String(error));
    assert.match(error.message, /authorization violation/i);
    return true;
  });
}

check("password", () =>
  expectAdmitted({ servers: env.PASSWORD_URL, user: env.PEER_USER, pass: env.PEER_PASSWORD }));

check("password-refused", async () => {
  await expectRefused({ servers: env.PASSWORD_URL, user: env.PEER_USER, pass: "wrong" });
  await expectRefused({ servers: env.PASSWORD_URL, user: "nobody", pass: env.PEER_PASSWORD });
  await expectRefused({ servers: env.PASSWORD_URL });
});

check("token", () => expectAdmitted({ servers: env.TOKEN_URL, token: env.PEER_TOKEN }));

check("token-refused", async () => {
  await expectRefused({ servers: env.TOKEN_URL, token: "wrong" });
  await expectRefused({ servers: env.TOKEN_URL });
});

check("server-info", () =>
  withClients(1, async (client) => {
    const other = await open();
    const { info } = client;
    assert.equal(info.server_name, "plain");
    assert.match(info.server_id, /^N[A-Z2-7]{55}$/);
    assert.match(info.version, /^2\.15\./);
    assert.equal(info.proto, 1);
    assert.equal(info.headers, true);
    assert.equal(info.max_payload, 1024 * 1024);
    assert.equal(`nats://127.0.0.1:${info.port}`, URL);
    assert.equal(info.client_ip, "127.0.0.1");
    assert.ok(info.client_id > 0 && info.client_id < other.info.client_id, "client ids ascend");
    assert.ok(!info.auth_required && !info.tls_required && !info.ldm && !info.jetstream, JSON.stringify(info));
    await other.close();
  }));

/** Waits until the client reports an event of this type. */
async function status(client, type) {
  for await (const report of client.status()) {
    if (report.type === type) {
      return report;
    }
  }
  throw new Error(`the connection closed without ${type}`);
}

/** A connection outlives its server and keeps its subscriptions. */
async function reconnect(how) {
  const options = { servers: env.RESTART_URL, reconnectTimeWait: 50, reconnectJitter: 0, maxReconnectAttempts: -1 };
  const [receiver, sender] = await Promise.all([open(options), open(options)]);
  const plain = new Received(receiver, "kept.*");
  const group = new Received(receiver, "kept.*", { queue: "group" });
  await receiver.flush();
  const first = receiver.info.server_id;
  const gone = status(receiver, "disconnect");
  const back = Promise.all([status(receiver, "reconnect"), status(sender, "reconnect")]);
  await control(how);
  await event(gone, "the loss of the server is noticed");
  await event(back, "both connections are back");
  await receiver.flush();
  sender.publish("kept.x", "after");
  await Promise.all([plain.atLeast(1), group.atLeast(1)]);
  assert.deepEqual([plain.texts, group.texts], [["after"], ["after"]]);
  assert.notEqual(receiver.info.server_id, first, "a new server has a new id");
  await Promise.all([receiver.close(), sender.close()]);
}

check("reconnect", () => reconnect("restart"));
check("reconnect-after-crash", () => reconnect("crash"));

let closedInLameDuck;

check("lame-duck", async () => {
  const client = await open({ servers: env.LAME_DUCK_URL, reconnect: false });
  const told = status(client, "ldm");
  const received = new Received(client, "still.works");
  await client.flush();
  await control("lame-duck");
  await event(told, "the server says that it will go");
  assert.equal(client.info.ldm, true);
  client.publish("still.works", "x");
  await received.atLeast(1);
  closedInLameDuck = client.closed();
});

check("lame-duck-close", async () => {
  await event(closedInLameDuck, "the server closes the connection");
  await control("lame-duck-exit");
});

process.exit(await runAll());
