/* test_net_names.c - names, shapes and order of the networks' tensors against the public checkpoints' lists (../shared/names). */
#include <inttypes.h>

#include "nets/model.h"
#include "tests/check.h"

/* Rows of "name<TAB>32x3x3x3" or "name<TAB>scalar", in state_dict order; the head's first dimension is the list's 1000 classes.
 */
static void names_are(const char *net, const char *path)
{
    prle_graph *g = NULL;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;
    char line[256], name[128], shape[128];
    FILE *list = fopen(path, "r");
    int row = 0;

    if (list == NULL)
        skip_all("../shared/names is not here");
    assert_ok(prle_net_build(&g, net, &opts));
    while (fgets(line, sizeof line, list) != NULL && sscanf(line, "%127s %127s", name, shape) == 2) {
        char ours[128] = "scalar";
        const prle_segment *s = &g->segment[row];

        assert_true(row < g->n_segments);
        assert_string_equal(s->name, name);
        for (int i = 0, used = 0; i < s->shape.n; i++)
            used += snprintf(ours + used, sizeof ours - (size_t)used, "%s%" PRId64, i > 0 ? "x" : "",
                             s->head && i == 0 ? 1000 : s->shape.dim[i]);
        assert_string_equal(ours, shape);
        row++;
    }
    assert_int_equal(row, g->n_segments);
    fclose(list);
    prle_graph_destroy(g);
}

static void test_names(void **state)
{
    (void)state;
    names_are("resnet50", "../shared/names/resnet50_torchvision_1000.tsv");
    names_are("xception", "../shared/names/xception_cadene_1000.tsv");
    names_are("efficientnet_b4", "../shared/names/efficientnet-b4_lukemelas_1000.tsv");
    names_are("efficientnet_b4_same", "../shared/names/efficientnet-b4_lukemelas_1000.tsv");
    names_are("efficientnet_b4_symmetric", "../shared/names/efficientnet-b4_lukemelas_1000.tsv");
    names_are("vgg16", "../shared/names/vgg16_torchvision_1000.tsv");
    names_are("vgg16_bn", "../shared/names/vgg16_bn_torchvision_1000.tsv");
    names_are("vgg19", "../shared/names/vgg19_torchvision_1000.tsv");
    names_are("vgg19_bn", "../shared/names/vgg19_bn_torchvision_1000.tsv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
