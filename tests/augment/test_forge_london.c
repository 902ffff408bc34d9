/* test_forge_london.c - the measure of the generator on real photographs: no method may show in statistics of frames. */
#include "augment/forge/quality.h"
#include "core/file.h"
#include "tests/augment/forge_faces.h"

#define LONDON "../shared/data/london"

static void test_no_method_gives_itself_away(void **state)
{
    (void)state;
    char root[64];
    prle_forge_opts opts = PRLE_FORGE_OPTS_DEFAULT;
    prle_forge_quality quality;

    snprintf(root, sizeof root, "%s", temporary_pattern());
    assert_non_null(mkdtemp(root));
    opts.src = LONDON;
    opts.out = root;
    opts.frames = 1;
    assert_ok(prle_forge_run(&opts, NULL));
    assert_ok(prle_forge_quality_measure(&quality, root));
    assert_ok(prle_folder_remove(root));
    assert_int_equal(quality.n_real, 204);
    for (int m = 0; m < PRLE_FORGE_METHODS; m++) {
        printf("%s %.3f\n", prle_forge_method_names[m], quality.auc[m]);
        assert_int_equal(quality.n_fake[m], 204);
        assert_true(quality.auc[m] < PRLE_FORGE_QUALITY_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_method_gives_itself_away)};

    if (!prle_file_exists(LONDON "/manifest.csv"))
        skip_all(LONDON " is not here: the generator's measure needs real photographs");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
