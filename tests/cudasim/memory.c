/* memory.c - device and pinned memory.
 *
 * One memfd is mapped twice: the program's view, which device memory keeps without any access right for ever, and the
 * simulator's. Beside it, at the same offsets, lie a validity byte for each byte, a record of who touched each four bytes, and
 * one of which 32-byte sectors a launch has moved. All of it is address space until it is used. An allocation ends at the end of
 * its last page, and an unmapped page follows, so that the host, too, stumbles at once; addresses are never used again. */
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cudasim/sim.h"

enum { PAGE = 4096, ALIGNMENT = 256, SECTOR = 32, EXIT_TOUCHED = 96 };
static const uint64_t arena_bytes = (uint64_t)1 << 36;

static int file = -1;
static uint8_t *program_view, *own_view, *valid;
static sim_touch *touched;
static uint32_t *sector_launch[2]; /* [read, written] of the last launch that touched the sector */
static uint64_t used = PAGE;

static sim_block **blocks;
static size_t n_blocks;

static void *address_space(size_t n_bytes, int protection, int flags, int fd)
{
    void *p = mmap(NULL, n_bytes, protection, flags | MAP_NORESERVE, fd, 0);

    if (p == MAP_FAILED)
        sim_fatal("cannot map %zu bytes of address space", n_bytes);
    return p;
}

static void describe(char line[256], uint64_t address)
{
    const sim_block *b = sim_find(address);

    if (b == NULL)
        snprintf(line, 256, "memory outside any allocation");
    else
        snprintf(line, 256, "%s memory #%u at byte %llu of %zu%s%s", b->pinned ? "pinned" : "device", b->id,
                 (unsigned long long)(address - b->begin), b->n_bytes, b->freed ? ", already freed" : "",
                 b->reading + b->writing > 0 ? ", while a copy of it is in flight" : "");
}

static void touched_by_host(int number, siginfo_t *info, void *context)
{
    const uint64_t address = (uint64_t)info->si_addr;
    void *frames[16];
    char line[256];

    (void)context;
    if (!sim_is_ours(info->si_addr)) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    describe(line, address);
    fprintf(stderr, "cudasim: fatal: host code touches %s\n", line);
    backtrace_symbols_fd(frames, backtrace(frames, 16), STDERR_FILENO);
    _exit(EXIT_TOUCHED);
}

__attribute__((constructor)) static void arena_make(void)
{
    const struct sigaction action = {.sa_sigaction = touched_by_host, .sa_flags = SA_SIGINFO};
    const int private = MAP_PRIVATE | MAP_ANONYMOUS, both = PROT_READ | PROT_WRITE;

    file = memfd_create("cudasim", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, (off_t)arena_bytes) != 0)
        sim_fatal("cannot make %llu bytes of device memory", (unsigned long long)arena_bytes);
    program_view = address_space(arena_bytes, PROT_NONE, MAP_SHARED, file);
    own_view = address_space(arena_bytes, both, MAP_SHARED, file);
    valid = address_space(arena_bytes, both, private, -1);
    touched = address_space(arena_bytes / 4 * sizeof *touched, both, private, -1);
    for (int i = 0; i < 2; i++)
        sector_launch[i] = address_space(arena_bytes / SECTOR * sizeof(uint32_t), both, private, -1);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

bool sim_is_ours(const void *p)
{
    return (uint64_t)p >= (uint64_t)program_view && (uint64_t)p < (uint64_t)program_view + arena_bytes;
}

static uint64_t offset_of(uint64_t address) { return address - (uint64_t)program_view; }

uint8_t *sim_view(uint64_t address) { return own_view + offset_of(address); }
uint8_t *sim_valid(uint64_t address) { return valid + offset_of(address); }
sim_touch *sim_touched(uint64_t address) { return touched + offset_of(address) / 4; }

int64_t sim_sectors(uint64_t address, size_t n_bytes, bool write, uint32_t launch)
{
    uint32_t *of = sector_launch[write];
    int64_t fresh = 0;

    for (uint64_t s = offset_of(address) / SECTOR; s <= (offset_of(address) + n_bytes - 1) / SECTOR; s++) {
        fresh += of[s] != launch;
        of[s] = launch;
    }
    return SECTOR * fresh;
}

/* The last one that begins at or before the address. */
static sim_block *begins_before(uint64_t address)
{
    size_t low = 0, high = n_blocks;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (blocks[middle]->begin <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : blocks[low - 1];
}

sim_block *sim_find(uint64_t address)
{
    sim_block *b = begins_before(address);

    return b != NULL && address < b->begin + b->n_bytes ? b : NULL;
}

bool sim_follows(uint64_t address)
{
    const sim_block *b = sim_is_ours((void *)address) ? begins_before(address) : NULL;

    return b != NULL && address < b->begin + b->n_bytes + PAGE;
}

cudaError_t sim_alloc(sim_block **out, size_t n_bytes, bool pinned, const void *site)
{
    const size_t rounded = (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, mapped = (rounded + PAGE - 1) / PAGE * PAGE;

    if (n_bytes > arena_bytes || used + mapped + PAGE > arena_bytes)
        return sim_error(cudaErrorMemoryAllocation);
    blocks = sim_grow(blocks, n_blocks, sizeof *blocks);
    sim_block *b = blocks[n_blocks++] = sim_new(sizeof *b);
    *b = (sim_block){.begin = (uint64_t)program_view + used + (pinned ? 0 : mapped - rounded),
                     .n_bytes = n_bytes,
                     .mapped_bytes = mapped,
                     .id = (unsigned)n_blocks,
                     .pinned = pinned,
                     .site = site};
    used += mapped + PAGE;
    memset(sim_view(b->begin), 0xFF, rounded); /* NaN in every float type */
    if (pinned)
        mprotect((void *)b->begin, mapped, PROT_READ | PROT_WRITE);
    sim_counts.allocations++;
    *out = b;
    return cudaSuccess;
}

void *sim_device(const void *p, size_t n_bytes, sim_access access, const char *who)
{
    const uint64_t address = (uint64_t)p;
    const sim_block *b = sim_is_ours(p) ? sim_find(address) : NULL;

    if (n_bytes == 0)
        return NULL;
    if (b == NULL || b->pinned)
        sim_fatal("%s: %p is no device memory (%s)", who, p, b == NULL ? "a host pointer, or outside any allocation" : "pinned");
    if (b->freed)
        sim_fatal("%s: device memory #%u is already freed", who, b->id);
    if (address + n_bytes > b->begin + b->n_bytes)
        sim_fatal("%s: %zu bytes at byte %llu overrun device memory #%u of %zu bytes", who, n_bytes,
                  (unsigned long long)(address - b->begin), b->id, b->n_bytes);
    if (access == SIM_WRITE) {
        memset(sim_valid(address), 1, n_bytes);
    } else {
        const uint8_t *hole = memchr(sim_valid(address), 0, n_bytes);
        if (hole != NULL)
            sim_report("%s: reads device memory #%u at byte %llu, which nobody has written", who, b->id,
                       (unsigned long long)(address - b->begin) + (unsigned long long)(hole - sim_valid(address)));
    }
    return sim_view(address);
}

void sim_pinned_busy(sim_block *b, sim_access by_the_copy, int change)
{
    *(by_the_copy == SIM_READ ? &b->reading : &b->writing) += change;
    mprotect((void *)b->begin, b->mapped_bytes, b->writing > 0 ? PROT_NONE : b->reading > 0 ? PROT_READ : PROT_READ | PROT_WRITE);
}

static void check_padding(const sim_block *b)
{
    const size_t rounded = (b->n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const uint8_t *end = sim_view(b->begin);

    for (size_t i = b->n_bytes; i < rounded; i++)
        if (end[i] != 0xFF)
            sim_fatal("device memory #%u was written past its %zu bytes", b->id, b->n_bytes);
}

static cudaError_t release(void *p, bool pinned)
{
    if (p == NULL)
        return cudaSuccess;
    sim_lock();
    sim_drain_all();
    sim_block *b = sim_is_ours(p) ? sim_find((uint64_t)p) : NULL;
    if (b == NULL || b->begin != (uint64_t)p || b->pinned != pinned)
        sim_fatal("%s: %p was not allocated by its twin", pinned ? "cudaFreeHost" : "cudaFree", p);
    if (b->freed)
        sim_fatal("%s memory #%u is freed twice", pinned ? "pinned" : "device", b->id);
    if (!pinned)
        check_padding(b);
    b->freed = true;
    const uint64_t first = offset_of(b->begin) / PAGE * PAGE;
    if (pinned)
        mprotect(p, b->mapped_bytes, PROT_NONE);
    fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first, (off_t)b->mapped_bytes);
    madvise(valid + first, b->mapped_bytes, MADV_DONTNEED);
    sim_unlock();
    return cudaSuccess;
}

int sim_leaks(void)
{
    int n = 0;

    for (size_t i = 0; i < n_blocks; i++) {
        const sim_block *b = blocks[i];
        if (b->freed || b->module)
            continue;
        if (++n <= 5)
            fprintf(stderr, "cudasim: leak: %s memory #%u of %zu bytes, allocated from %p\n", b->pinned ? "pinned" : "device",
                    b->id, b->n_bytes, b->site);
    }
    return n;
}

static cudaError_t allocate(void **out, size_t n_bytes, bool pinned, const void *site)
{
    sim_block *b = NULL;
    cudaError_t error = cudaSuccess;

    *out = NULL;
    if (n_bytes == 0)
        return cudaSuccess;
    sim_lock();
    if (sim_capturing(NULL)) {
        sim_report("memory is allocated while a stream captures: the captured work would not do it again");
        error = sim_error(cudaErrorStreamCaptureUnsupported);
    } else {
        error = sim_alloc(&b, n_bytes, pinned, site);
    }
    if (error == cudaSuccess)
        *out = (void *)b->begin;
    sim_unlock();
    return error;
}

SIM_API cudaError_t cudaMalloc(void **out, size_t n_bytes) { return allocate(out, n_bytes, false, __builtin_return_address(0)); }

SIM_API cudaError_t cudaHostAlloc(void **out, size_t n_bytes, unsigned flags)
{
    (void)flags;
    return allocate(out, n_bytes, true, __builtin_return_address(0));
}

SIM_API cudaError_t cudaMallocHost(void **out, size_t n_bytes)
{
    return allocate(out, n_bytes, true, __builtin_return_address(0));
}

SIM_API cudaError_t cudaFree(void *p) { return release(p, false); }
SIM_API cudaError_t cudaFreeHost(void *p) { return release(p, true); }

SIM_API cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    sim_lock();
    *total_bytes = arena_bytes;
    *free_bytes = arena_bytes - used;
    sim_unlock();
    return cudaSuccess;
}
