/* Codes, texts, versions. SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <mproc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    const char *name;
} codes[] = {
#define ROW(name, value, text) { name, #name },
    MPROC_ERROR_MAP(ROW)
#undef ROW
};

static void every_code_has_its_name_and_a_text_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_true(codes[i].code < -4095);
        assert_string_equal(mproc_error_name(codes[i].code), codes[i].name);
        assert_true(strlen(mproc_strerror(codes[i].code)) > 10);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i].code, codes[j].code);
            assert_string_not_equal(mproc_strerror(codes[i].code), mproc_strerror(codes[j].code));
        }
    }
}

static void errno_values_have_names_and_texts(void **state)
{
    (void)state;
    static const int numbers[] = { EINVAL,    ENOMEM,  EINTR,  EAGAIN, EMFILE,       ENFILE,
                                   EOVERFLOW, EDEADLK, ENOSPC, EFBIG,  ENAMETOOLONG, EROFS };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        assert_string_not_equal(mproc_strerror(-numbers[i]), "unknown error code");
        assert_int_equal(mproc_error_name(-numbers[i])[0], 'E');
    }
    assert_string_equal(mproc_error_name(-ENOMEM), "ENOMEM");
#ifdef __GLIBC__
    for (int number = 1; number < 128; number++) /* where one is known, so is the other */
        assert_int_equal(strcmp(mproc_error_name(-number), "unknown") == 0,
                         strcmp(mproc_strerror(-number), "unknown error code") == 0);
    assert_string_equal(mproc_error_name(-ENOTCONN), "ENOTCONN");
#endif
}

static void any_number_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(mproc_strerror(0), "success");
    assert_non_null(strstr(mproc_strerror(3), "outcomes"));
    assert_string_equal(mproc_strerror(-1000000), "unknown error code");
    assert_string_equal(mproc_strerror(INT32_MIN), "unknown error code");
    assert_string_equal(mproc_error_name(-1000000), "unknown");
    assert_string_equal(mproc_error_name(0), "success");
    assert_string_equal(mproc_error_name(7), "unsuccessful items");
}

static void outcomes_are_put_into_words(void **state)
{
    (void)state;
    char text[200];
    struct mproc_outcome failed = { .kind = MPROC_FAILED, .code = 5, .message = "no luck" };
    struct mproc_outcome crashed = { .kind = MPROC_CRASHED, .signal = SIGSEGV, .pid = 17 };
    struct mproc_outcome left = { .kind = MPROC_CRASHED, .exit_status = 3, .pid = 17 };
    mproc_outcome_text(&failed, text, sizeof text);
    assert_string_equal(text, "failed with code 5: no luck");
    failed.message[0] = '\0';
    mproc_outcome_text(&failed, text, sizeof text);
    assert_string_equal(text, "failed with code 5");
    mproc_outcome_text(&crashed, text, sizeof text);
    assert_string_equal(text, "crashed: Segmentation fault (signal 11) in process 17");
    mproc_outcome_text(&left, text, sizeof text);
    assert_string_equal(text, "crashed: process 17 exited with status 3");
    for (int kind = MPROC_OK; kind <= MPROC_LOST; kind++) {
        struct mproc_outcome outcome = { .kind = (enum mproc_outcome_kind)kind };
        assert_true(mproc_outcome_text(&outcome, text, sizeof text) > 0);
        assert_memory_equal(text, mproc_outcome_name(outcome.kind), strlen(mproc_outcome_name(outcome.kind)));
    }
    assert_string_equal(mproc_outcome_name((enum mproc_outcome_kind)99), "unknown");
}

static void a_text_is_cut_to_its_buffer(void **state)
{
    (void)state;
    char text[8] = "xxxxxxx";
    struct mproc_outcome ok = { .kind = MPROC_OK }, failed = { .kind = MPROC_FAILED, .code = 1 };
    assert_int_equal(mproc_outcome_text(&failed, text, 4), (int)strlen("failed with code 1"));
    assert_string_equal(text, "fai");
    assert_int_equal(text[4], 'x');
    assert_int_equal(mproc_outcome_text(&ok, NULL, 0), 2);
    assert_int_equal(mproc_outcome_text(NULL, text, 8), -EINVAL);
    assert_int_equal(mproc_outcome_text(&ok, NULL, 8), -EINVAL);
}

static void library_and_headers_agree_on_the_version(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", MPROC_VERSION_MAJOR, MPROC_VERSION_MINOR, MPROC_VERSION_PATCH);
    assert_string_equal(mproc_version(), text);
    assert_string_equal(mproc_version(), PROJECT_VERSION);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_code_has_its_name_and_a_text_of_its_own),
    cmocka_unit_test(errno_values_have_names_and_texts),
    cmocka_unit_test(any_number_has_a_text),
    cmocka_unit_test(outcomes_are_put_into_words),
    cmocka_unit_test(a_text_is_cut_to_its_buffer),
    cmocka_unit_test(library_and_headers_agree_on_the_version),
};

HARNESS_MAIN(tests)
