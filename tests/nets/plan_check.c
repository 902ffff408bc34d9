/* plan_check.c - asks cuDNN, which needs no GPU for that, for a plan of every distinct convolution of networks at batch 64 on
 * given GPUs: forward and both gradients. Prints a table; fails where there is no plan within the bound on scratch.
 *
 * PRLE_DETERMINISTIC=no in the environment allows engines whose sums vary.
 *
 *   plan_check DEVICES TYPES SIZES NETWORKS, each a list with commas: a100.json,... f32,tf32,bf16 256,299 resnet50,... or all
 *
 * The stand-in for the driver (tests/cudasim/driver.c) has to be on LD_LIBRARY_PATH: engines that compile kernels load them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/op/conv2d_cudnn.h"
#include "nets/net.h"

enum { BATCH = 64, MAX_CONVS = 2048, MAX_ITEMS = 16 };

typedef struct convs {
    int n;
    prle_op_desc desc[MAX_CONVS];
    char name[MAX_CONVS][128]; /* the first network and node that has it */
} convs;

/* A list with commas, cut up in place. */
typedef struct list {
    int n;
    char *item[MAX_ITEMS];
} list;

static list list_of(char *text)
{
    list l = {0};

    for (char *at = text; at != NULL && l.n < MAX_ITEMS;) {
        char *comma = strchr(at, ',');
        if (comma != NULL)
            *comma++ = '\0';
        l.item[l.n++] = at;
        at = comma;
    }
    return l;
}

static bool lists(const list *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->item[i], name) == 0 || strcmp(l->item[i], "all") == 0)
            return true;
    return false;
}

static bool same(const prle_op_desc *a, const prle_op_desc *b)
{
    const prle_conv2d_attrs *x = &a->u.conv2d, *y = &b->u.conv2d;

    return prle_shape_equal(&a->in[0], &b->in[0]) && x->n_out == y->n_out && x->kernel_h == y->kernel_h &&
           x->kernel_w == y->kernel_w && x->stride == y->stride && x->groups == y->groups && x->pad_top == y->pad_top &&
           x->pad_left == y->pad_left && x->pad_bottom == y->pad_bottom && x->pad_right == y->pad_right;
}

static prle_status collect(convs *all, const char *net, int64_t size)
{
    const prle_net_opts opts = {.height = size, .width = size, .classes = 2};
    prle_graph *g = NULL;
    prle_status st = PRLE_OK;

    PRLE_TRY(prle_net_build(&g, net, &opts));
    for (int i = 0; i < g->n_nodes; i++) {
        prle_op_desc desc = g->node[i].desc;
        int at = 0;

        if (desc.kind != PRLE_OP_CONV2D)
            continue;
        desc.in[0].dim[0] = BATCH;
        desc.dtype = PRLE_F32;
        PRLE_TRY_OUT(prle_op_infer(&desc));
        while (at < all->n && !same(&all->desc[at], &desc))
            at++;
        if (at < all->n)
            continue;
        PRLE_CHECK_OUT(all->n < MAX_CONVS, PRLE_EINVAL, "more than %d convolutions", MAX_CONVS);
        snprintf(all->name[all->n], sizeof all->name[0], "%s %s", net, g->node[i].name);
        all->desc[all->n++] = desc;
    }
out:
    prle_graph_destroy(g);
    return st;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One line of the table. Returns how many have no plan. */
static int check(const convs *all, const char *device, const char *json, const char *type, prle_op_pass pass)
{
    static const char *const pass_names[PRLE_N_PASSES] = {"forward", "data", "weights"};
    const char *any = getenv("PRLE_DETERMINISTIC");
    const prle_cudnn_wishes wishes = {.device_json = json,
                                      .deterministic = any == NULL || strcmp(any, "no") != 0,
                                      .exact = strcmp(type, "f32") == 0,
                                      .most_scratch_bytes = PRLE_CONV2D_MOST_SCRATCH};
    const double begin = now();
    int failed = 0, tensor_cores = 0, compiled = 0, kept = 0;
    size_t most = 0;

    for (int i = 0; i < all->n; i++) {
        prle_op_desc desc = all->desc[i];
        prle_cudnn_plan *plan = NULL;
        char shape[96];

        desc.memory = strcmp(type, "bf16") == 0 ? PRLE_BF16 : PRLE_F32;
        prle_error_clear();
        if (prle_conv2d_cudnn_plan(&desc, pass, false, &wishes, &plan) != PRLE_OK) {
            printf("NO PLAN: %s %s %s, %s of %s: %s\n", device, type, pass_names[pass], all->name[i],
                   prle_shape_print(&desc.in[0], shape), prle_error_message());
            failed++;
            continue;
        }
        most = prle_cudnn_plan_scratch(plan) > most ? prle_cudnn_plan_scratch(plan) : most;
        tensor_cores += strstr(prle_cudnn_plan_name(plan), "tensor") != NULL;
        compiled += strstr(prle_cudnn_plan_name(plan), "compiled") != NULL;
        kept += strstr(prle_cudnn_plan_name(plan), "kept") != NULL;
        if (getenv("PRLE_TEST_VERBOSE") != NULL)
            printf("  %-60s %-24s %s, %zu KiB\n", all->name[i], prle_shape_print(&desc.in[0], shape), prle_cudnn_plan_name(plan),
                   prle_cudnn_plan_scratch(plan) >> 10);
        prle_cudnn_plan_destroy(plan);
    }
    printf("%-14s %-5s %-8s %6d %8d %8d %6d %10.1f %8.1f\n", device, type, pass_names[pass], all->n - failed, tensor_cores,
           compiled, kept, (double)most / (1 << 20), now() - begin);
    fflush(stdout);
    return failed;
}

/* A GPU as cuDNN describes it. */
static prle_status json_read(const char *path, char text[4096])
{
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;

    PRLE_TRY(prle_file_read_limited(path, 4095, &bytes, &n_bytes));
    memcpy(text, bytes, n_bytes);
    text[n_bytes] = '\0';
    text[strcspn(text, "\n")] = '\0';
    prle_free(bytes);
    return PRLE_OK;
}

static prle_status run(char **arguments, int *failed)
{
    const list devices = list_of(arguments[0]), types = list_of(arguments[1]), sizes = list_of(arguments[2]),
               nets = list_of(arguments[3]);
    convs *all = NULL;
    char json[4096];
    prle_status st = PRLE_OK;

    PRLE_TRY_OUT(PRLE_NEW(all, 1));
    for (int k = 0; k < sizes.n; k++)
        for (int i = 0; prle_net_words[i] != NULL; i++)
            if (lists(&nets, prle_net_words[i]))
                PRLE_TRY_OUT(collect(all, prle_net_words[i], strtoll(sizes.item[k], NULL, 10)));
    PRLE_CHECK_OUT(all->n > 0, PRLE_EINVAL, "no network is called \"%s\"", arguments[3]);
    printf("%d distinct convolutions, batch %d; scratch at most %d MiB\n", all->n, BATCH, PRLE_CONV2D_MOST_SCRATCH >> 20);
    printf("%-14s %-5s %-8s %6s %8s %8s %6s %10s %8s\n", "device", "type", "pass", "plans", "tensor", "compiled", "kept", "MiB",
           "seconds");
    for (int d = 0; d < devices.n; d++) {
        const char *name = strrchr(devices.item[d], '/') != NULL ? strrchr(devices.item[d], '/') + 1 : devices.item[d];

        PRLE_TRY_OUT(json_read(devices.item[d], json));
        for (int t = 0; t < types.n; t++)
            for (int pass = 0; pass < PRLE_N_PASSES; pass++)
                *failed += check(all, name, json, types.item[t], (prle_op_pass)pass);
    }
out:
    prle_free(all);
    return st;
}

int main(int n, char **arguments)
{
    int failed = 0;

    if (n != 5) {
        fprintf(stderr, "usage: plan_check DEVICE.json,... f32,tf32,bf16 SIZE,... NETWORK,...|all\n");
        return 2;
    }
    if (run(arguments + 1, &failed) != PRLE_OK) {
        fprintf(stderr, "plan_check: %s\n", prle_error_message());
        return 1;
    }
    printf("%d without a plan\n", failed);
    return failed > 0;
}
