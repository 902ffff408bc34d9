/* test_net_names.c - names, shapes and order of the networks' tensors against the public checkpoints' lists in ../shared/names.
 * To make one, of the public module: for n, t in module.state_dict().items(): print(n, "x".join(map(str, t.shape)) or "scalar",
 * sep="\t")
 */
#include <inttypes.h>
#include <sys/stat.h>

#include "nets/model.h"
#include "tests/check.h"

#define LISTS "../shared/names"

/* Rows of "name<TAB>32x3x3x3" or "name<TAB>scalar", in state_dict order; the head's first dimension: the list's 1000 classes. */
static void names_are(const char *net, const char *list_name)
{
    prle_graph *g = NULL;
    prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;
    char path[128], line[256], name[128], shape[128];
    int row = 0;

    snprintf(path, sizeof path, LISTS "/%s", list_name);
    FILE *list = fopen(path, "r");
    if (list == NULL)
        fail_msg("%s is not here, which has the names of %s", path, net);
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

static const struct {
    const char *net, *list;
} lists[] = {
    {"resnet50", "resnet50_torchvision_1000.tsv"},
    {"xception", "xception_cadene_1000.tsv"},
    {"efficientnet_b4", "efficientnet-b4_lukemelas_1000.tsv"},
    {"efficientnet_b4_same", "efficientnet-b4_lukemelas_1000.tsv"},
    {"efficientnet_b4_symmetric", "efficientnet-b4_lukemelas_1000.tsv"},
    {"vgg16", "vgg16_torchvision_1000.tsv"},
    {"vgg16_bn", "vgg16_bn_torchvision_1000.tsv"},
    {"vgg19", "vgg19_torchvision_1000.tsv"},
    {"vgg19_bn", "vgg19_bn_torchvision_1000.tsv"},
    {"f3net", NULL}, /* no ImageNet: tests/golden/exchange.py and test_exchange.c have its names */
    {"f3net_both", NULL},
    {"meso4", NULL}, /* no PyTorch checkpoint */
};
enum { N_LISTS = sizeof lists / sizeof *lists };

/* Every network, those without a list among them, stands in the table; and nothing else. */
static void test_none_forgotten(void **state)
{
    (void)state;
    for (int i = 0; prle_net_words[i] != NULL; i++) {
        int k = 0;
        while (k < N_LISTS && strcmp(lists[k].net, prle_net_words[i]) != 0)
            k++;
        if (k == N_LISTS)
            fail_msg("%s: which list of ../shared/names has its names?", prle_net_words[i]);
    }
}

static void test_names(void **state)
{
    struct stat folder;

    (void)state;
    if (stat(LISTS, &folder) != 0)
        skip_all(LISTS " is not here");
    for (int i = 0; i < N_LISTS; i++)
        if (lists[i].list != NULL)
            names_are(lists[i].net, lists[i].list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_none_forgotten), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
