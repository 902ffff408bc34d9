/* test_naming.c - names in other programs' files against the list of them all (../shared/names). */
#include "nets/naming.h"

#include "tests/check.h"

static const prle_naming *naming_of(const char *net, const char *name)
{
    const prle_naming *naming = NULL;

    assert_ok(prle_naming_find(&naming, net, name));
    return naming;
}

/* Rows of "lukemelas<TAB>timm<TAB>torchvision<TAB>shape". */
static void test_efficientnet(void **state)
{
    FILE *list = fopen("../shared/names/efficientnet-b4_name_map.tsv", "r");
    const prle_naming *timm = naming_of("efficientnet_b4_same", "timm");
    const prle_naming *torchvision = naming_of("efficientnet_b4_symmetric", "torchvision");
    const prle_naming *lukemelas = naming_of("efficientnet_b4", "lukemelas");
    char line[512], name[3][128], got[PRLE_NAMING_BYTES];
    int n = 0;

    (void)state;
    if (list == NULL)
        skip_all("../shared/names is not here");
    assert_non_null(fgets(line, sizeof line, list)); /* the header */
    for (; fgets(line, sizeof line, list) != NULL; n++) {
        assert_int_equal(sscanf(line, "%127s %127s %127s", name[0], name[1], name[2]), 3);
        assert_true(prle_naming_apply(lukemelas, name[0], got));
        assert_string_equal(got, name[0]);
        assert_true(prle_naming_apply(timm, name[0], got));
        assert_string_equal(got, name[1]);
        assert_true(prle_naming_apply(torchvision, name[0], got));
        assert_string_equal(got, name[2]);
    }
    assert_int_equal(n, 706);
    fclose(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_efficientnet)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
