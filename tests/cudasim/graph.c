/* graph.c - captured work: nodes with their order, replayed in random order that keeps it. A launch is one entry of a stream. */
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim.h"

struct CUgraph_st {
    sim_node *nodes;
    int n;
};

/* Kept when it is over: events may still know it. */
struct sim_capture {
    struct CUgraph_st *graph; /* NULL when it is over */
};

/** A graph ready to run; shares nothing with the one it was made of. */
struct CUgraphExec_st {
    struct CUgraph_st graph;
    bool *done; /* [n] of the launch that runs now */
    int n_left;
    bool running;
};

sim_capture *sim_capture_begin(void)
{
    sim_capture *capture = sim_new(sizeof *capture);

    capture->graph = sim_new(sizeof *capture->graph);
    return capture;
}

cudaError_t sim_capture_add(sim_capture *capture, const sim_work *work, const void *argument, size_t n_bytes, const int *before,
                            int n_before, int *out)
{
    struct CUgraph_st *g = capture->graph;

    if (!work->capturable) {
        sim_report("%s cannot be captured", work->what);
        return cudaErrorStreamCaptureUnsupported;
    }
    g->nodes = sim_grow(g->nodes, (size_t)g->n, sizeof *g->nodes);
    sim_node *node = &g->nodes[g->n];
    *node = (sim_node){.work = *work, .n_bytes = n_bytes, .n_before = n_before};
    node->argument = memcpy(sim_new(n_bytes), argument, n_bytes);
    node->before = sim_new((size_t)n_before * sizeof *node->before);
    if (n_before > 0)
        memcpy(node->before, before, (size_t)n_before * sizeof *node->before);
    *out = g->n++;
    return cudaSuccess;
}

bool sim_capture_before(const sim_capture *capture, int node, const int *tips, int n_tips)
{
    for (int i = 0; i < n_tips; i++) {
        const sim_node *tip = &capture->graph->nodes[tips[i]];
        if (tips[i] == node || (tips[i] > node && sim_capture_before(capture, node, tip->before, tip->n_before)))
            return true;
    }
    return false;
}

cudaGraph_t sim_capture_end(sim_capture *capture)
{
    cudaGraph_t graph = capture->graph;

    capture->graph = NULL;
    return graph;
}

bool sim_capture_ended(const sim_capture *capture) { return capture->graph == NULL; }

static void nodes_free(struct CUgraph_st *g)
{
    for (int i = 0; i < g->n; i++) {
        free(g->nodes[i].argument);
        free(g->nodes[i].before);
    }
    free(g->nodes);
}

SIM_API cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    sim_lock();
    nodes_free(graph);
    free(graph);
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n)
{
    if (nodes != NULL)
        sim_fatal("cudaGraphGetNodes: only the number of nodes is simulated");
    *n = (size_t)graph->n;
    return cudaSuccess;
}

SIM_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    sim_lock();
    struct CUgraphExec_st *exec = sim_new(sizeof *exec);
    sim_capture copy = {.graph = &exec->graph};
    for (int i = 0; i < graph->n; i++) {
        const sim_node *node = &graph->nodes[i];
        int at = -1;
        sim_capture_add(&copy, &node->work, node->argument, node->n_bytes, node->before, node->n_before, &at);
    }
    exec->done = sim_new((size_t)graph->n * sizeof *exec->done);
    *out = exec;
    sim_unlock();
    return cudaSuccess;
}

SIM_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    sim_lock();
    sim_drain_all();
    nodes_free(&exec->graph);
    free(exec->done);
    free(exec);
    sim_unlock();
    return cudaSuccess;
}

static bool is_ready(const struct CUgraphExec_st *exec, int i)
{
    const sim_node *node = &exec->graph.nodes[i];

    for (int k = 0; k < node->n_before; k++)
        if (!exec->done[node->before[k]])
            return false;
    return !exec->done[i];
}

/* A node that may run now, the search beginning anywhere. */
static int any_ready(const struct CUgraphExec_st *exec)
{
    const int n = exec->graph.n, first = sim_schedule_get() == SIM_EAGER ? 0 : (int)(sim_random() % (uint32_t)n);

    for (int i = 0; i < n; i++)
        if (is_ready(exec, (first + i) % n))
            return (first + i) % n;
    sim_fatal("a graph has a cycle");
}

static bool launch_run(void *argument)
{
    struct CUgraphExec_st *exec = *(struct CUgraphExec_st **)argument;

    if (!exec->running) {
        memset(exec->done, 0, (size_t)exec->graph.n * sizeof *exec->done);
        exec->n_left = exec->graph.n;
        exec->running = true;
        sim_counts.graph_launches++;
        sim_counts.graph_nodes += exec->graph.n;
    }
    while (exec->n_left > 0) {
        const int i = any_ready(exec);
        if (!exec->graph.nodes[i].work.run(exec->graph.nodes[i].argument))
            return false;
        exec->done[i] = true;
        exec->n_left--;
    }
    exec->running = false;
    return true;
}

static void launch_begin(void *argument)
{
    const struct CUgraphExec_st *exec = *(struct CUgraphExec_st **)argument;

    for (int i = 0; i < exec->graph.n; i++)
        if (exec->graph.nodes[i].work.begin != NULL)
            exec->graph.nodes[i].work.begin(exec->graph.nodes[i].argument);
}

SIM_API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    static const sim_work work = {.run = launch_run, .begin = launch_begin, .what = "graph launch"};

    sim_lock();
    const cudaError_t error = sim_submit(stream, &work, &exec, sizeof exec);
    sim_unlock();
    return sim_error(error);
}
