/* learn_cuda.cu - see learn_cuda.h. Every sum has a fixed order: threads stride, then halve. */
#include <math.h>

#include "nets/learn_cuda.h"

enum { THREADS = 256 };

/* The block's sum, in every thread. */
static __device__ double block_sum(double value)
{
    __shared__ double parts[THREADS];

    parts[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half)
            parts[threadIdx.x] += parts[threadIdx.x + half];
        __syncthreads();
    }
    const double sum = parts[0];
    __syncthreads();
    return sum;
}

/* ---- loss and seed: loss.c ---- */

static __device__ double margin(const float *logits, int64_t classes, int64_t i)
{
    return classes == 1 ? (double)logits[i] : (double)logits[2 * i + 1] - (double)logits[2 * i];
}

static __device__ double loss_of(double z, double y) { return (z > 0 ? z : z == z ? 0 : z) - z * y + log1p(exp(-fabs(z))); }

static __device__ double sigmoid(double z)
{
    const double e = exp(-fabs(z)); /* in (0,1]: never overflows */

    return (z >= 0 ? 1 : e) / (1 + e);
}

static __global__ void seed_kernel(const learn_given *given, const float *logits, float *seed, prle_learn_out *out,
                                   int64_t max_batch, int64_t plan_batch, int64_t classes)
{
    const int64_t n = given->step.n;
    const double *weights = given->values;
    const unsigned char *labels = (const unsigned char *)(given->values + max_batch);
    const double scale = given->step.scale;
    double sum = 0;

    for (int64_t i = threadIdx.x; i < n; i += THREADS)
        sum += weights[i] * loss_of(margin(logits, classes, i), labels[i]);
    const double loss = scale * block_sum(sum);
    if (threadIdx.x == 0)
        out[given->step.slot].loss = loss;
    for (int64_t i = threadIdx.x; i < plan_batch; i += THREADS) {
        double dz = 0;
        if (i < n)
            dz = isfinite(loss) ? scale * weights[i] * (sigmoid(margin(logits, classes, i)) - labels[i]) : (double)NAN;
        seed[classes * i + classes - 1] = (float)dz;
        if (classes == 2)
            seed[2 * i] = (float)-dz;
    }
}

cudaError_t prle_learn_seed_cuda(const learn_given *given, const float *logits, float *seed, prle_learn_out *out,
                                 int64_t max_batch, int64_t plan_batch, int64_t classes, cudaStream_t stream)
{
    seed_kernel<<<1, THREADS, 0, stream>>>(given, logits, seed, out, max_batch, plan_batch, classes);
    return cudaGetLastError();
}

/* ---- norm ---- */

static __global__ void square_kernel(const float *grads, int64_t n, double *parts)
{
    const int64_t first = (int64_t)blockIdx.x * LEARN_NORM_CHUNK;
    const int64_t end = first + LEARN_NORM_CHUNK < n ? first + LEARN_NORM_CHUNK : n;
    double sum = 0;

    for (int64_t i = first + threadIdx.x; i < end; i += THREADS)
        sum += (double)grads[i] * (double)grads[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        parts[blockIdx.x] = sum;
}

static __global__ void norm_kernel(const learn_given *given, const double *parts, int64_t n_parts, double clip_norm,
                                   prle_learn_out *out, learn_verdict *verdict)
{
    double sum = 0;

    for (int64_t i = threadIdx.x; i < n_parts; i += THREADS)
        sum += parts[i];
    const double norm = sqrt(block_sum(sum));
    if (threadIdx.x != 0)
        return;
    out[given->step.slot].norm = norm;
    verdict->factor = clip_norm > 0 && norm > clip_norm ? (float)(clip_norm / norm) : 1.0f;
    if (!isfinite(norm))
        verdict->failed = 1;
}

cudaError_t prle_learn_norm_cuda(const learn_given *given, const float *grads, int64_t n, double *parts, double clip_norm,
                                 prle_learn_out *out, learn_verdict *verdict, cudaStream_t stream)
{
    const int64_t n_parts = (n + LEARN_NORM_CHUNK - 1) / LEARN_NORM_CHUNK;

    square_kernel<<<(unsigned)n_parts, THREADS, 0, stream>>>(grads, n, parts);
    norm_kernel<<<1, THREADS, 0, stream>>>(given, parts, n_parts, clip_norm, out, verdict);
    return cudaGetLastError();
}

/* ---- the optimisers: optim_ref.c, in its order of operations ---- */

static __device__ void adam(const learn_step &s, const learn_rate &r, float *w, float g, float *m, float *v)
{
    *m = s.beta1 * *m + s.rest1 * g;
    *v = s.beta2 * *v + s.rest2 * g * g;
    *w -= r.adam_lr * (*m / (sqrtf(*v) / s.root2 + s.eps));
}

template <prle_optim_kind KIND>
static __global__ void update_kernel(const learn_given *given, const learn_verdict *verdict, const learn_chunk *chunks,
                                     float *weights, const float *grads, float *m, float *v)
{
    const learn_chunk chunk = chunks[blockIdx.x];
    const learn_step s = given->step;
    const learn_rate r = given->step.rate[chunk.rate];
    const float factor = verdict->factor;

    if (verdict->failed)
        return;
    for (int64_t i = chunk.first + threadIdx.x; i < chunk.first + chunk.count; i += THREADS) {
        const float g = factor * grads[i];
        float w = weights[i], mi = m[i];

        if (KIND == PRLE_OPTIM_SGD) {
            mi = s.momentum * mi + (g + r.decay * w);
            w -= r.lr * mi;
        } else {
            float vi = v[i];
            if (KIND == PRLE_OPTIM_ADAMW)
                w *= r.keep;
            adam(s, r, &w, KIND == PRLE_OPTIM_ADAMW ? g : g + r.decay * w, &mi, &vi);
            v[i] = vi;
        }
        m[i] = mi;
        weights[i] = w;
    }
}

cudaError_t prle_learn_update_cuda(prle_optim_kind kind, const learn_given *given, const learn_verdict *verdict,
                                   const learn_chunk *chunks, int64_t n_chunks, float *weights, const float *grads, float *m,
                                   float *v, cudaStream_t stream)
{
    const unsigned blocks = (unsigned)n_chunks;

    switch (kind) {
    case PRLE_OPTIM_ADAM:
        update_kernel<PRLE_OPTIM_ADAM><<<blocks, THREADS, 0, stream>>>(given, verdict, chunks, weights, grads, m, v);
        break;
    case PRLE_OPTIM_ADAMW:
        update_kernel<PRLE_OPTIM_ADAMW><<<blocks, THREADS, 0, stream>>>(given, verdict, chunks, weights, grads, m, v);
        break;
    case PRLE_OPTIM_SGD:
        update_kernel<PRLE_OPTIM_SGD><<<blocks, THREADS, 0, stream>>>(given, verdict, chunks, weights, grads, m, v);
        break;
    }
    return cudaGetLastError();
}
