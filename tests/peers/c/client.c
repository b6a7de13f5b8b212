/* Drives a server with the C client: one check for each thing that a client does.
 * The addresses of the servers and what they accept come from the environment. */

#include <nats/nats.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "checks.h"

typedef natsConnection Connection;
typedef natsSubscription Subscription;

/* Fails the running check when the library reports an error. */
#define MUST(call)                                                                                 \
    do {                                                                                           \
        natsStatus must_status = (call);                                                           \
        if (must_status != NATS_OK)                                                                \
            FAIL("%s: %s", #call, natsStatus_GetText(must_status));                                \
    } while (0)

/* Fails the running check unless the library reports this error. */
#define MUST_REPORT(call, wanted)                                                                  \
    do {                                                                                           \
        natsStatus reported = (call);                                                              \
        if (reported != (wanted))                                                                  \
            FAIL("%s: '%s' instead of '%s'", #call, natsStatus_GetText(reported),                  \
                 natsStatus_GetText(wanted));                                                      \
    } while (0)

/* ---- connections ---- */

static natsOptions *options_for(const char *url_variable) {
    natsOptions *options = NULL;
    const char *url = getenv(url_variable);
    MUST(natsOptions_Create(&options));
    MUST(natsOptions_SetURL(options, url == NULL ? "" : url));
    return options;
}

static Connection *connect_with(natsOptions *options) {
    Connection *connection = NULL;
    MUST(natsConnection_Connect(&connection, options));
    natsOptions_Destroy(options);
    return connection;
}

static Connection *connect_plain(void) { return connect_with(options_for("NATS_URL")); }

/* Returns when the server has handled all that this connection sent and this connection has got
 * all that the server had sent by then. */
static void flush(Connection *connection) {
    MUST(natsConnection_FlushTimeout(connection, EVENT_DEADLINE));
}

/* Closes a connection, which must not have reported an error. */
static void done(Connection *connection) {
    const char *text = NULL;
    natsStatus status = natsConnection_GetLastError(connection, &text);
    if (status != NATS_OK)
        FAIL("error reported by the connection: %s (%s)", natsStatus_GetText(status), text);
    natsConnection_Destroy(connection);
}

/* ---- subscriptions and messages ---- */

static Subscription *subscribe(Connection *connection, const char *subject, const char *group) {
    Subscription *subscription = NULL;
    if (group == NULL)
        MUST(natsConnection_SubscribeSync(&subscription, connection, subject));
    else
        MUST(natsConnection_QueueSubscribeSync(&subscription, connection, subject, group));
    return subscription;
}

static void publish(Connection *connection, const char *subject, const char *text) {
    MUST(natsConnection_PublishString(connection, subject, text));
}

static void publish_numbers(Connection *connection, const char *subject, int count) {
    char text[16];
    for (int number = 0; number < count; number++) {
        snprintf(text, sizeof text, "%d", number);
        publish(connection, subject, text);
    }
}

static natsMsg *receive(Subscription *subscription) {
    natsMsg *message = NULL;
    MUST(natsSubscription_NextMsg(&message, subscription, EVENT_DEADLINE));
    return message;
}

/* The next message must hold this text. */
static void expect_text(Subscription *subscription, const char *text) {
    natsMsg *message = receive(subscription);
    EXPECT_NUMBER(natsMsg_GetDataLength(message), strlen(text));
    EXPECT_TEXT(natsMsg_GetData(message), text);
    natsMsg_Destroy(message);
}

/* The next messages must hold the numbers from `first` on. */
static void expect_numbers(Subscription *subscription, int first, int count) {
    char text[16];
    for (int number = first; number < first + count; number++) {
        snprintf(text, sizeof text, "%d", number);
        expect_text(subscription, text);
    }
}

/* How many messages have arrived and wait in a subscription. */
static int waiting(Subscription *subscription) {
    uint64_t count = 0;
    MUST(natsSubscription_QueuedMsgs(subscription, &count));
    return (int)count;
}

/* How many messages the server has sent to this connection. */
static int64_t received(Connection *connection) {
    uint64_t messages = 0, bytes = 0, sent = 0, sent_bytes = 0, reconnects = 0;
    natsStatistics *statistics = NULL;
    MUST(natsStatistics_Create(&statistics));
    MUST(natsConnection_GetStats(connection, statistics));
    MUST(natsStatistics_GetCounts(statistics, &messages, &bytes, &sent, &sent_bytes, &reconnects));
    natsStatistics_Destroy(statistics);
    return (int64_t)messages;
}

/* Answers a request with its payload in capitals and with its header "Id". */
static void answer(Connection *connection, Subscription *subscription, natsMsg *request,
                   void *closure) {
    (void)subscription;
    (void)closure;
    natsMsg *reply = NULL;
    const char *id = NULL;
    int length = natsMsg_GetDataLength(request);
    char *text = strndup(natsMsg_GetData(request), (size_t)length);
    for (int index = 0; index < length; index++)
        text[index] = (char)(text[index] >= 'a' && text[index] <= 'z' ? text[index] - 32 : text[index]);
    MUST(natsMsg_Create(&reply, natsMsg_GetReply(request), NULL, text, length));
    if (natsMsgHeader_Get(request, "Id", &id) == NATS_OK)
        MUST(natsMsgHeader_Set(reply, "Id", id));
    MUST(natsConnection_PublishMsg(connection, reply));
    free(text);
    natsMsg_Destroy(reply);
    natsMsg_Destroy(request);
}

static void respond(Connection *connection, const char *subject) {
    Subscription *subscription = NULL;
    MUST(natsConnection_Subscribe(&subscription, connection, subject, answer, NULL));
    flush(connection);
}

static void expect_reply(Connection *connection, const char *subject, const char *request,
                         const char *wanted) {
    natsMsg *reply = NULL;
    MUST(natsConnection_RequestString(&reply, connection, subject, request, EVENT_DEADLINE));
    EXPECT_TEXT(natsMsg_GetData(reply), wanted);
    natsMsg_Destroy(reply);
}

/* ---- events that the library reports on threads of its own ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
} Event;

#define NEVER {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static void happened(Connection *connection, void *closure) {
    (void)connection;
    Event *event = closure;
    pthread_mutex_lock(&event->lock);
    event->count++;
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->lock);
}

static void wait_for(Event *event, const char *what) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += EVENT_DEADLINE / 1000;
    pthread_mutex_lock(&event->lock);
    while (event->count == 0)
        if (pthread_cond_timedwait(&event->changed, &event->lock, &end) != 0)
            FAIL("did not happen: %s", what);
    pthread_mutex_unlock(&event->lock);
}

/* ---- checks: messages ---- */

static void publish_subscribe(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "greet.joe", NULL);
    flush(receiver);
    publish(sender, "greet.joe", "hello");
    MUST(natsConnection_PublishRequestString(sender, "greet.joe", "answers.here", "again"));
    natsMsg *first = receive(subscription), *second = receive(subscription);
    EXPECT_TEXT(natsMsg_GetSubject(first), "greet.joe");
    EXPECT_TEXT(natsMsg_GetData(first), "hello");
    EXPECT(natsMsg_GetReply(first) == NULL);
    EXPECT_TEXT(natsMsg_GetReply(second), "answers.here");
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(waiting(subscription), 0);
    done(receiver);
    done(sender);
}

static void payload_bytes(void) {
    unsigned char every[1280];
    for (size_t index = 0; index < sizeof every; index++)
        every[index] = (unsigned char)index;
    const struct {
        const void *bytes;
        int length;
    } sent[] = {{"", 0}, {"\r\n", 2}, {"+OK\r\nPING\r\nMSG a 1 0\r\n", 23}, {"\0", 1}, {every, sizeof every}};
    const size_t count = sizeof sent / sizeof *sent;
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "bytes", NULL);
    flush(receiver);
    for (size_t index = 0; index < count; index++)
        MUST(natsConnection_Publish(sender, "bytes", sent[index].bytes, sent[index].length));
    for (size_t index = 0; index < count; index++) {
        natsMsg *message = receive(subscription);
        EXPECT_NUMBER(natsMsg_GetDataLength(message), sent[index].length);
        EXPECT(memcmp(natsMsg_GetData(message), sent[index].bytes, (size_t)sent[index].length) == 0);
    }
    done(receiver);
    done(sender);
}

static void order(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "order", NULL);
    flush(receiver);
    publish_numbers(sender, "order", 50000);
    expect_numbers(subscription, 0, 50000);
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(waiting(subscription), 0);
    done(receiver);
    done(sender);
}

static void request_reply(void) {
    Connection *responder = connect_plain(), *requester = connect_plain();
    respond(responder, "shout");
    expect_reply(requester, "shout", "help me", "HELP ME");
    done(responder);
    done(requester);
}

static void requests_in_flight(void) {
    enum { COUNT = 500 };
    Connection *responder = connect_plain(), *requester = connect_plain();
    respond(responder, "many");
    Subscription *replies = subscribe(requester, "many.replies.*", NULL);
    char reply[32], text[16];
    for (int number = 0; number < COUNT; number++) {
        snprintf(reply, sizeof reply, "many.replies.%d", number);
        snprintf(text, sizeof text, "n%d", number);
        MUST(natsConnection_PublishRequestString(requester, "many", reply, text));
    }
    for (int number = 0; number < COUNT; number++) {
        natsMsg *message = receive(replies);
        snprintf(reply, sizeof reply, "many.replies.%d", number);
        snprintf(text, sizeof text, "N%d", number);
        EXPECT_TEXT(natsMsg_GetSubject(message), reply);
        EXPECT_TEXT(natsMsg_GetData(message), text);
        natsMsg_Destroy(message);
    }
    done(responder);
    done(requester);
}

static Connection *connect_old_style(void) {
    natsOptions *options = options_for("NATS_URL");
    MUST(natsOptions_UseOldRequestStyle(options, true));
    return connect_with(options);
}

static void request_own_inbox(void) {
    Connection *responder = connect_plain(), *requester = connect_old_style();
    respond(responder, "own");
    for (int number = 0; number < 20; number++) {
        char request[16], wanted[16];
        snprintf(request, sizeof request, "o%d", number);
        snprintf(wanted, sizeof wanted, "O%d", number);
        expect_reply(requester, "own", request, wanted);
    }
    done(responder);
    done(requester);
}

static void no_responders(void) {
    Connection *requesters[] = {connect_plain(), connect_old_style()};
    for (int index = 0; index < 2; index++) {
        natsMsg *reply = NULL;
        int64_t started = nats_Now();
        MUST_REPORT(natsConnection_RequestString(&reply, requesters[index], "nobody.listens", "?",
                                                 EVENT_DEADLINE),
                    NATS_NO_RESPONDERS);
        EXPECT(nats_Now() - started < EVENT_DEADLINE / 2);
        natsConnection_Destroy(requesters[index]);
    }
}

static void headers(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "headers", NULL);
    flush(receiver);
    const char *payloads[] = {"with a body", ""};
    for (int index = 0; index < 2; index++) {
        natsMsg *sent = NULL;
        const char *value = NULL, **values = NULL;
        int count = 0;
        MUST(natsMsg_Create(&sent, "headers", NULL, payloads[index], (int)strlen(payloads[index])));
        MUST(natsMsgHeader_Set(sent, "Kind", "greeting"));
        MUST(natsMsgHeader_Add(sent, "Many", "one"));
        MUST(natsMsgHeader_Add(sent, "Many", "two"));
        MUST(natsMsgHeader_Set(sent, "Colon", "a: b:c"));
        MUST(natsConnection_PublishMsg(sender, sent));
        natsMsg *message = receive(subscription);
        EXPECT_TEXT(natsMsg_GetData(message), payloads[index]);
        MUST(natsMsgHeader_Get(message, "Kind", &value));
        EXPECT_TEXT(value, "greeting");
        MUST(natsMsgHeader_Get(message, "Colon", &value));
        EXPECT_TEXT(value, "a: b:c");
        MUST(natsMsgHeader_Values(message, "Many", &values, &count));
        EXPECT_NUMBER(count, 2);
        EXPECT_TEXT(values[0], "one");
        EXPECT_TEXT(values[1], "two");
        free((void *)values);
    }
    const char **keys = NULL;
    int count = 0;
    publish(sender, "headers", "bare");
    MUST_REPORT(natsMsgHeader_Keys(receive(subscription), &keys, &count), NATS_NOT_FOUND);
    done(receiver);
    done(sender);
}

static void headers_request(void) {
    Connection *responder = connect_plain(), *requester = connect_plain();
    respond(responder, "echo.headers");
    natsMsg *request = NULL, *reply = NULL;
    const char *id = NULL;
    MUST(natsMsg_Create(&request, "echo.headers", NULL, "x", 1));
    MUST(natsMsgHeader_Set(request, "Id", "42"));
    MUST(natsConnection_RequestMsg(&reply, requester, request, EVENT_DEADLINE));
    EXPECT_TEXT(natsMsg_GetData(reply), "X");
    MUST(natsMsgHeader_Get(reply, "Id", &id));
    EXPECT_TEXT(id, "42");
    done(responder);
    done(requester);
}

static void queue_group_spread(void) {
    enum { TOTAL = 3000, MEMBERS = 3 };
    static bool seen[TOTAL];
    Connection *sender = connect_plain(), *members[MEMBERS];
    Subscription *shares[MEMBERS];
    int sum = 0;
    for (int index = 0; index < MEMBERS; index++) {
        members[index] = connect_plain();
        shares[index] = subscribe(members[index], "work", "workers");
        flush(members[index]);
    }
    publish_numbers(sender, "work", TOTAL);
    flush(sender);
    for (int index = 0; index < MEMBERS; index++) {
        flush(members[index]);
        int share = waiting(shares[index]);
        sum += share;
        if (share <= TOTAL / MEMBERS * 8 / 10)
            FAIL("uneven shares: %d of %d for member %d", share, TOTAL, index);
        while (share-- > 0) {
            int number = atoi(natsMsg_GetData(receive(shares[index])));
            EXPECT(!seen[number]);
            seen[number] = true;
        }
        done(members[index]);
    }
    EXPECT_NUMBER(sum, TOTAL);
    done(sender);
}

static void queue_group_each(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *red[] = {subscribe(receiver, "jobs.*", "red"), subscribe(receiver, "jobs.*", "red")};
    Subscription *blue[] = {subscribe(receiver, "jobs.new", "blue"),
                            subscribe(receiver, "jobs.new", "blue")};
    Subscription *plain = subscribe(receiver, "jobs.>", NULL);
    flush(receiver);
    publish_numbers(sender, "jobs.new", 100);
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(waiting(red[0]) + waiting(red[1]), 100);
    EXPECT_NUMBER(waiting(blue[0]) + waiting(blue[1]), 100);
    EXPECT_NUMBER(waiting(plain), 100);
    done(receiver);
    done(sender);
}

static void queue_group_member_leaves(void) {
    Connection *stays = connect_plain(), *leaves = connect_plain(), *sender = connect_plain();
    Subscription *staying = subscribe(stays, "shift", "crew");
    Subscription *leaving = subscribe(leaves, "shift", "crew");
    flush(stays);
    flush(leaves);
    MUST(natsSubscription_Unsubscribe(leaving));
    flush(leaves);
    publish_numbers(sender, "shift", 100);
    expect_numbers(staying, 0, 100);
    done(stays);
    done(leaves);
    done(sender);
}

static void queue_group_member_dies(void) {
    Connection *stays = connect_plain(), *dies = connect_plain(), *sender = connect_plain();
    Subscription *staying = subscribe(stays, "shift", "crew");
    subscribe(dies, "shift", "crew");
    respond(dies, "still.alive");
    flush(stays);
    done(dies);
    /* The server has noticed once it knows nobody who answers. */
    natsMsg *reply = NULL;
    while (natsConnection_RequestString(&reply, sender, "still.alive", "?", 500) != NATS_NO_RESPONDERS)
        ;
    publish_numbers(sender, "shift", 100);
    expect_numbers(staying, 0, 100);
    natsConnection_Destroy(stays);
    natsConnection_Destroy(sender);
}

static void same_subject_twice(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *copies[3];
    for (int index = 0; index < 3; index++)
        copies[index] = subscribe(receiver, "twice", NULL);
    flush(receiver);
    publish(sender, "twice", "x");
    flush(sender);
    flush(receiver);
    for (int index = 0; index < 3; index++)
        EXPECT_NUMBER(waiting(copies[index]), 1);
    done(receiver);
    done(sender);
}

static void many_subjects(void) {
    enum { COUNT = 5000 };
    static Subscription *subscriptions[COUNT];
    Connection *receiver = connect_plain(), *sender = connect_plain();
    char subject[32], text[16];
    for (int number = 0; number < COUNT; number++) {
        snprintf(subject, sizeof subject, "many.%d.subject", number);
        subscriptions[number] = subscribe(receiver, subject, NULL);
    }
    Subscription *everything = subscribe(receiver, "many.*.subject", NULL);
    flush(receiver);
    for (int number = 0; number < COUNT; number++) {
        snprintf(subject, sizeof subject, "many.%d.subject", number);
        snprintf(text, sizeof text, "%d", number);
        publish(sender, subject, text);
    }
    expect_numbers(everything, 0, COUNT);
    flush(sender);
    flush(receiver);
    for (int number = 0; number < COUNT; number++) {
        EXPECT_NUMBER(waiting(subscriptions[number]), 1);
        expect_numbers(subscriptions[number], number, 1);
    }
    done(receiver);
    done(sender);
}

static void many_connections(void) {
    enum { COUNT = 50 };
    Connection *sender = connect_plain(), *receivers[COUNT];
    Subscription *subscriptions[COUNT];
    uint64_t previous = 0, id = 0;
    for (int index = 0; index < COUNT; index++) {
        receivers[index] = connect_plain();
        subscriptions[index] = subscribe(receivers[index], "to.all", NULL);
        flush(receivers[index]);
        MUST(natsConnection_GetClientID(receivers[index], &id));
        EXPECT(id > previous);
        previous = id;
    }
    publish_numbers(sender, "to.all", 20);
    for (int index = 0; index < COUNT; index++) {
        expect_numbers(subscriptions[index], 0, 20);
        done(receivers[index]);
    }
    done(sender);
}

static void wildcards(void) {
    const char *published[] = {"w", "w.a", "w.a.c", "w.b.c", "w.b.d.e", "v.w.a"};
    const struct {
        const char *filter;
        const char *subjects[5];
    } wanted[] = {
        {"w.*", {"w.a"}},
        {"w.*.c", {"w.a.c", "w.b.c"}},
        {"w.>", {"w.a", "w.a.c", "w.b.c", "w.b.d.e"}},
        {"*.b.*", {"w.b.c"}},
        {"*.*.*.e", {"w.b.d.e"}},
        {"w.a.c", {"w.a.c"}},
        {"W.a", {NULL}},
        {"w.*.c.>", {NULL}},
    };
    enum { FILTERS = sizeof wanted / sizeof *wanted };
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscriptions[FILTERS];
    for (int index = 0; index < FILTERS; index++)
        subscriptions[index] = subscribe(receiver, wanted[index].filter, NULL);
    flush(receiver);
    for (size_t index = 0; index < sizeof published / sizeof *published; index++)
        publish(sender, published[index], "x");
    flush(sender);
    flush(receiver);
    for (int index = 0; index < FILTERS; index++) {
        for (const char *const *subject = wanted[index].subjects; *subject != NULL; subject++)
            EXPECT_TEXT(natsMsg_GetSubject(receive(subscriptions[index])), *subject);
        EXPECT_NUMBER(waiting(subscriptions[index]), 0);
    }
    done(receiver);
    done(sender);
}

static void wildcards_overlapping(void) {
    const char *filters[] = {"over.lap.x", "over.*.x", "over.lap.*", "over.>", "*.*.*", "*.lap.>"};
    enum { FILTERS = sizeof filters / sizeof *filters };
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscriptions[FILTERS];
    for (int index = 0; index < FILTERS; index++)
        subscriptions[index] = subscribe(receiver, filters[index], NULL);
    flush(receiver);
    publish(sender, "over.lap.x", "x");
    flush(sender);
    flush(receiver);
    for (int index = 0; index < FILTERS; index++) {
        EXPECT_NUMBER(waiting(subscriptions[index]), 1);
        EXPECT_TEXT(natsMsg_GetSubject(receive(subscriptions[index])), "over.lap.x");
    }
    done(receiver);
    done(sender);
}

static char *pattern(int64_t size) {
    char *payload = malloc((size_t)size);
    for (int64_t index = 0; index < size; index++)
        payload[index] = "0123456789abcde"[index % 15];
    return payload;
}

static void largest_payload(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "large", NULL);
    flush(receiver);
    int64_t largest = natsConnection_GetMaxPayload(sender);
    EXPECT_NUMBER(largest, 1024 * 1024);
    const int64_t sizes[] = {4095, 4096, 65535, 65536, 65537, largest - 1, largest};
    for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
        char *payload = pattern(sizes[index]);
        MUST(natsConnection_Publish(sender, "large", payload, (int)sizes[index]));
        natsMsg *message = receive(subscription);
        EXPECT_NUMBER(natsMsg_GetDataLength(message), sizes[index]);
        EXPECT(memcmp(natsMsg_GetData(message), payload, (size_t)sizes[index]) == 0);
        natsMsg_Destroy(message);
        free(payload);
    }
    done(receiver);
    done(sender);
}

static void payload_too_large(void) {
    Connection *sender = connect_plain();
    int64_t size = natsConnection_GetMaxPayload(sender) + 1;
    char *payload = pattern(size);
    MUST_REPORT(natsConnection_Publish(sender, "large", payload, (int)size), NATS_MAX_PAYLOAD);
    flush(sender);
    natsConnection_Destroy(sender);
}

static void flush_is_a_barrier(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "flushed", NULL);
    flush(receiver);
    publish_numbers(sender, "flushed", 10000);
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(waiting(subscription), 10000);
    done(receiver);
    done(sender);
}

static void pending(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "pending", NULL);
    int messages = 0, bytes = 0;
    flush(receiver);
    for (int number = 0; number < 100; number++)
        publish(sender, "pending", "12345");
    flush(sender);
    EXPECT_NUMBER(natsConnection_Buffered(sender), 0);
    flush(receiver);
    MUST(natsSubscription_GetPending(subscription, &messages, &bytes));
    EXPECT_NUMBER(messages, 100);
    EXPECT_NUMBER(bytes, 500);
    done(receiver);
    done(sender);
}

static void statistics(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = subscribe(receiver, "counted", NULL);
    flush(receiver);
    publish_numbers(sender, "counted", 10);
    expect_numbers(subscription, 0, 10);
    EXPECT_NUMBER(received(receiver), 10);
    done(receiver);
    done(sender);
}

static void round_trip_time(void) {
    Connection *connection = connect_plain();
    int64_t nanoseconds = 0;
    MUST(natsConnection_GetRTT(connection, &nanoseconds));
    EXPECT(nanoseconds > 0 && nanoseconds < INT64_C(10000000000));
    done(connection);
}

static void echo_on(void) {
    Connection *connection = connect_plain();
    Subscription *subscription = subscribe(connection, "echo", NULL);
    publish(connection, "echo", "me");
    expect_text(subscription, "me");
    done(connection);
}

static void echo_off(void) {
    natsOptions *options = options_for("NATS_URL");
    MUST(natsOptions_SetNoEcho(options, true));
    Connection *silent = connect_with(options), *other = connect_plain();
    Subscription *own = subscribe(silent, "no.echo", NULL);
    Subscription *group = subscribe(silent, "no.echo", "group");
    publish_numbers(silent, "no.echo", 10);
    flush(silent);
    publish(other, "no.echo", "theirs");
    expect_text(own, "theirs");
    expect_text(group, "theirs");
    flush(silent);
    EXPECT_NUMBER(waiting(own) + waiting(group), 0);
    done(silent);
    done(other);
}

static void verbose(void) {
    natsOptions *options = options_for("NATS_URL");
    MUST(natsOptions_SetVerbose(options, true));
    Connection *connection = connect_with(options);
    Subscription *subscription = subscribe(connection, "verbose", NULL);
    publish_numbers(connection, "verbose", 50);
    expect_numbers(subscription, 0, 50);
    MUST(natsSubscription_Unsubscribe(subscription));
    respond(connection, "verbose.request");
    expect_reply(connection, "verbose.request", "loud", "LOUD");
    done(connection);
}

static void pedantic(void) {
    natsOptions *options = options_for("NATS_URL");
    MUST(natsOptions_SetPedantic(options, true));
    Connection *connection = connect_with(options);
    Subscription *subscription = subscribe(connection, "pedantic.*", NULL);
    publish(connection, "pedantic.x", "x");
    expect_text(subscription, "x");
    done(connection);
}

/* ---- checks: the ends of subscriptions ---- */

static void unsubscribe(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *ended = subscribe(receiver, "stop", NULL), *other = subscribe(receiver, "stop", NULL);
    flush(receiver);
    publish(sender, "stop", "1");
    expect_text(ended, "1");
    MUST(natsSubscription_Unsubscribe(ended));
    flush(receiver);
    publish(sender, "stop", "2");
    expect_text(other, "1");
    expect_text(other, "2");
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(received(receiver), 3);
    done(receiver);
    done(sender);
}

static void unsubscribe_after(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *five = subscribe(receiver, "five", NULL), *marker = subscribe(receiver, "five", NULL);
    MUST(natsSubscription_AutoUnsubscribe(five, 5));
    flush(receiver);
    publish_numbers(sender, "five", 12);
    expect_numbers(marker, 0, 12);
    expect_numbers(five, 0, 5);
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(received(receiver), 17);
    natsConnection_Destroy(receiver);
    done(sender);
}

static void unsubscribe_after_passed(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *late = subscribe(receiver, "late", NULL), *marker = subscribe(receiver, "late", NULL);
    flush(receiver);
    publish_numbers(sender, "late", 4);
    expect_numbers(marker, 0, 4);
    expect_numbers(late, 0, 4);
    /* Fewer than have been delivered already: the subscription ends now. */
    MUST(natsSubscription_AutoUnsubscribe(late, 2));
    flush(receiver);
    publish(sender, "late", "after");
    expect_text(marker, "after");
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(received(receiver), 9);
    natsConnection_Destroy(receiver);
    done(sender);
}

static int handled = 0;

static void handle(Connection *connection, Subscription *subscription, natsMsg *message, void *closure) {
    (void)subscription;
    const char *answers = closure;
    if (answers != NULL)
        MUST(natsConnection_Publish(connection, answers, natsMsg_GetData(message),
                                    natsMsg_GetDataLength(message)));
    handled++;
    natsMsg_Destroy(message);
}

static void drain_subscription(void) {
    Connection *receiver = connect_plain(), *sender = connect_plain();
    Subscription *subscription = NULL;
    MUST(natsConnection_Subscribe(&subscription, receiver, "drain", handle, NULL));
    flush(receiver);
    publish_numbers(sender, "drain", 500);
    flush(sender);
    MUST(natsSubscription_Drain(subscription));
    MUST(natsSubscription_WaitForDrainCompletion(subscription, EVENT_DEADLINE));
    MUST(natsSubscription_DrainCompletionStatus(subscription));
    EXPECT_NUMBER(handled, 500);
    publish(sender, "drain", "after");
    flush(sender);
    flush(receiver);
    EXPECT_NUMBER(received(receiver), 500);
    done(receiver);
    done(sender);
}

static void drain_connection(void) {
    static Event closed = NEVER;
    natsOptions *options = options_for("NATS_URL");
    MUST(natsOptions_SetClosedCB(options, happened, &closed));
    Connection *receiver = connect_with(options), *sender = connect_plain();
    Subscription *answers = subscribe(sender, "drained.answers", NULL), *subscription = NULL;
    flush(sender);
    MUST(natsConnection_Subscribe(&subscription, receiver, "drained", handle, "drained.answers"));
    flush(receiver);
    publish_numbers(sender, "drained", 500);
    flush(sender);
    MUST(natsConnection_DrainTimeout(receiver, EVENT_DEADLINE));
    wait_for(&closed, "the connection closes after its drain");
    EXPECT_NUMBER(handled, 500);
    expect_numbers(answers, 0, 500);
    done(sender);
}

/* ---- checks: who is let in ---- */

static void expect_admitted(natsOptions *options) {
    Connection *connection = connect_with(options);
    Subscription *subscription = subscribe(connection, "private", NULL);
    publish(connection, "private", "x");
    expect_text(subscription, "x");
    done(connection);
}

static void expect_refused(natsOptions *options) {
    Connection *connection = NULL;
    MUST(natsOptions_SetAllowReconnect(options, false));
    MUST_REPORT(natsConnection_Connect(&connection, options), NATS_CONNECTION_AUTH_FAILED);
    natsOptions_Destroy(options);
}

static natsOptions *with_password(const char *user, const char *password) {
    natsOptions *options = options_for("PASSWORD_URL");
    MUST(natsOptions_SetUserInfo(options, user, password));
    return options;
}

static natsOptions *with_token(const char *token) {
    natsOptions *options = options_for("TOKEN_URL");
    MUST(natsOptions_SetToken(options, token));
    return options;
}

static void password(void) { expect_admitted(with_password(getenv("PEER_USER"), getenv("PEER_PASSWORD"))); }

static void password_refused(void) {
    expect_refused(with_password(getenv("PEER_USER"), "wrong"));
    expect_refused(with_password("nobody", getenv("PEER_PASSWORD")));
    expect_refused(options_for("PASSWORD_URL"));
}

static void token(void) { expect_admitted(with_token(getenv("PEER_TOKEN"))); }

static void token_refused(void) {
    expect_refused(with_token("wrong"));
    expect_refused(options_for("TOKEN_URL"));
}

/* ---- checks: the server ---- */

static void server_info(void) {
    Connection *connection = connect_plain(), *other = connect_plain();
    char id[128] = "", url[128] = "", *ip = NULL;
    uint64_t first = 0, second = 0;
    MUST(natsConnection_GetConnectedServerId(connection, id, sizeof id));
    EXPECT_NUMBER(strlen(id), 56);
    EXPECT(id[0] == 'N');
    MUST(natsConnection_GetConnectedUrl(connection, url, sizeof url));
    EXPECT_TEXT(url, getenv("NATS_URL"));
    EXPECT_NUMBER(natsConnection_GetMaxPayload(connection), 1024 * 1024);
    MUST(natsConnection_HasHeaderSupport(connection));
    MUST(natsConnection_GetClientIP(connection, &ip));
    EXPECT_TEXT(ip, "127.0.0.1");
    MUST(natsConnection_GetClientID(connection, &first));
    MUST(natsConnection_GetClientID(other, &second));
    EXPECT(first > 0 && first < second);
    done(connection);
    done(other);
}

static natsOptions *stubborn(void) {
    natsOptions *options = options_for("RESTART_URL");
    MUST(natsOptions_SetMaxReconnect(options, -1));
    MUST(natsOptions_SetReconnectWait(options, 50));
    MUST(natsOptions_SetReconnectJitter(options, 1, 1));
    return options;
}

/* A connection outlives its server and keeps its subscriptions. */
static void reconnect(const char *how) {
    static Event gone = NEVER, back = NEVER, sender_back = NEVER;
    natsOptions *options = stubborn(), *sender_options = stubborn();
    MUST(natsOptions_SetDisconnectedCB(options, happened, &gone));
    MUST(natsOptions_SetReconnectedCB(options, happened, &back));
    MUST(natsOptions_SetReconnectedCB(sender_options, happened, &sender_back));
    Connection *receiver = connect_with(options), *sender = connect_with(sender_options);
    Subscription *plain = subscribe(receiver, "kept.*", NULL);
    Subscription *group = subscribe(receiver, "kept.*", "group");
    char first[128] = "", second[128] = "";
    flush(receiver);
    MUST(natsConnection_GetConnectedServerId(receiver, first, sizeof first));
    control(how);
    wait_for(&gone, "the loss of the server is noticed");
    wait_for(&back, "the connection is back");
    wait_for(&sender_back, "the sender is back");
    flush(receiver);
    publish(sender, "kept.x", "after");
    expect_text(plain, "after");
    expect_text(group, "after");
    EXPECT_NUMBER(waiting(plain) + waiting(group), 0);
    MUST(natsConnection_GetConnectedServerId(receiver, second, sizeof second));
    EXPECT(strcmp(first, second) != 0);
    natsConnection_Destroy(receiver);
    natsConnection_Destroy(sender);
}

static void reconnect_gracefully(void) { reconnect("restart"); }

static void reconnect_after_crash(void) { reconnect("crash"); }

/* Both lame duck checks: the second needs the connection of the first. */
static void lame_duck_and_close(void) {
    static Event told = NEVER, closed = NEVER;
    natsOptions *options = options_for("LAME_DUCK_URL");
    MUST(natsOptions_SetAllowReconnect(options, false));
    MUST(natsOptions_SetLameDuckModeCB(options, happened, &told));
    MUST(natsOptions_SetClosedCB(options, happened, &closed));
    Connection *connection = connect_with(options);
    Subscription *subscription = subscribe(connection, "still.works", NULL);
    flush(connection);
    control("lame-duck");
    wait_for(&told, "the server says that it will go");
    publish(connection, "still.works", "x");
    expect_text(subscription, "x");
    passed("lame-duck");
    wait_for(&closed, "the server closes the connection");
    control("lame-duck-exit");
}

static const Check CHECKS[] = {
    {"publish-subscribe", publish_subscribe},
    {"payload-bytes", payload_bytes},
    {"order", order},
    {"request", request_reply},
    {"requests-in-flight", requests_in_flight},
    {"request-own-inbox", request_own_inbox},
    {"no-responders", no_responders},
    {"headers", headers},
    {"headers-request", headers_request},
    {"queue-group-spread", queue_group_spread},
    {"queue-group-each", queue_group_each},
    {"queue-group-member-leaves", queue_group_member_leaves},
    {"queue-group-member-dies", queue_group_member_dies},
    {"same-subject-twice", same_subject_twice},
    {"many-subjects", many_subjects},
    {"many-connections", many_connections},
    {"wildcards", wildcards},
    {"wildcards-overlapping", wildcards_overlapping},
    {"largest-payload", largest_payload},
    {"payload-too-large", payload_too_large},
    {"flush", flush_is_a_barrier},
    {"pending", pending},
    {"statistics", statistics},
    {"round-trip-time", round_trip_time},
    {"echo-on", echo_on},
    {"echo-off", echo_off},
    {"verbose", verbose},
    {"pedantic", pedantic},
    {"unsubscribe", unsubscribe},
    {"unsubscribe-after", unsubscribe_after},
    {"unsubscribe-after-passed", unsubscribe_after_passed},
    {"drain-subscription", drain_subscription},
    {"drain-connection", drain_connection},
    {"password", password},
    {"password-refused", password_refused},
    {"token", token},
    {"token-refused", token_refused},
    {"server-info", server_info},
    {"reconnect", reconnect_gracefully},
    {"reconnect-after-crash", reconnect_after_crash},
    {"lame-duck-close", lame_duck_and_close},
};

int main(void) { return run_all(CHECKS, sizeof CHECKS / sizeof *CHECKS); }
