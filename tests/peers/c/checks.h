/* Runs the checks of one client program, each in a process of its own with a deadline, and
 * reports them by name. A check that fails ends its process, so it need not tidy up first. */

#ifndef CHECKS_H
#define CHECKS_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds for one check on a busy machine; none takes a tenth of it on an idle one. */
#define CHECK_DEADLINE 45

/* Milliseconds for one message or event that must come. */
#define EVENT_DEADLINE 20000

typedef struct {
    const char *name;
    void (*run)(void);
} Check;

/* The check that this process runs. */
static const char *running = "";

/* Fails the running check. */
#define FAIL(...)                                                                                  \
    do {                                                                                           \
        printf("not ok %s: line %d: ", running, __LINE__);                                         \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        fflush(stdout);                                                                            \
        _exit(1);                                                                                  \
    } while (0)

/* Fails the running check unless the condition holds. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL("not so: %s", #condition);                                                        \
    } while (0)

/* Fails the running check unless both texts are the same. */
#define EXPECT_TEXT(actual, wanted)                                                                \
    do {                                                                                           \
        const char *actual_text = (actual);                                                        \
        if (actual_text == NULL || strcmp(actual_text, (wanted)) != 0)                             \
            FAIL("%s: '%s' instead of '%s'", #actual, actual_text ? actual_text : "none",          \
                 (wanted));                                                                        \
    } while (0)

/* Fails the running check unless both numbers are the same. */
#define EXPECT_NUMBER(actual, wanted)                                                              \
    do {                                                                                           \
        long long actual_number = (long long)(actual), wanted_number = (long long)(wanted);        \
        if (actual_number != wanted_number)                                                        \
            FAIL("%s: %lld instead of %lld", #actual, actual_number, wanted_number);               \
    } while (0)

/* Says that a check has passed. */
static void passed(const char *name) {
    printf("ok %s\n", name);
    fflush(stdout);
}

/* Asks the test that started this program to do something, and waits until it is done. */
static void control(const char *action) {
    printf("control %s\n", action);
    fflush(stdout);
    /* Byte by byte: the processes of the later checks read from the same input. */
    char answer[8] = "";
    size_t length = 0;
    while (length < sizeof answer - 1 && read(STDIN_FILENO, &answer[length], 1) == 1 &&
           answer[length] != '\n')
        length++;
    answer[length] = '\0';
    EXPECT_TEXT(answer, "done");
}

/* Runs one check in a process of its own; returns whether it passed. */
static bool run_check(const Check *check) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        running = check->name;
        alarm(CHECK_DEADLINE);
        check->run();
        passed(check->name);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        printf("not ok %s: no process for it\n", check->name);
        return false;
    }
    if (WIFSIGNALED(status))
        printf("not ok %s: ended by signal %d, which is %d after %d seconds\n", check->name,
               WTERMSIG(status), SIGALRM, CHECK_DEADLINE);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Runs the checks in order; returns the exit status of the program. */
static int run_all(const Check *checks, size_t count) {
    int failures = 0;
    for (size_t index = 0; index < count; index++)
        failures += run_check(&checks[index]) ? 0 : 1;
    fflush(stdout);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
