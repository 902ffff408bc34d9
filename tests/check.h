/* check.h - what every unit test includes: cmocka, and assertions on statuses. */
#pragma once
/* cmocka wants these first, in any order but before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/status.h"

/** The call succeeds; its message is shown when not. */
#define assert_ok(e)                                                                                                             \
    do {                                                                                                                         \
        const prle_status st_ = (e);                                                                                             \
        if (st_ != PRLE_OK)                                                                                                      \
            fail_msg("%s: %s: %s", #e, prle_status_name(st_), prle_error_details());                                             \
    } while (0)

/** The call fails with that code and a message that contains the text ("" for any). */
#define assert_fails(e, code, text)                                                                                              \
    do {                                                                                                                         \
        const prle_status st_ = (e);                                                                                             \
        if (st_ != (code))                                                                                                       \
            fail_msg("%s: expected %s, got %s: %s", #e, prle_status_name(code), prle_status_name(st_),                           \
                     st_ == PRLE_OK ? "" : prle_error_message());                                                                \
        if (strstr(prle_error_message(), (text)) == NULL)                                                                        \
            fail_msg("%s: message \"%s\" does not contain \"%s\"", #e, prle_error_message(), (text));                            \
    } while (0)

/** A test that cannot run here: one clear line, exit code 77 for ctest. */
#define skip_all(why)                                                                                                            \
    do {                                                                                                                         \
        printf("SKIP: %s\n", (why));                                                                                             \
        exit(77);                                                                                                                \
    } while (0)
