/* fuzz_yaml.c - files of options: every node is visited. */
#include <string.h>

#include "core/alloc.h"
#include "core/yaml.h"
#include "tests/fuzz/fuzz.h"

static int64_t visit(const prle_yaml_node *node)
{
    int64_t n = 1;

    if (node->line < 0 || strlen(node->text) > (size_t)1 << 20)
        abort();
    for (const prle_yaml_node *child = node->child; child != NULL; child = child->next)
        n += visit(child);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const int64_t live = prle_alloc_live();
    prle_yaml *yaml = NULL;

    const prle_status st = prle_yaml_parse("fuzz.yaml", (const char *)bytes, n_bytes, &yaml);
    if (st == PRLE_OK && visit(prle_yaml_root(yaml)) < 1)
        abort();
    prle_yaml_destroy(yaml);
    return fuzz_end(st, live, "fuzz.yaml");
}
