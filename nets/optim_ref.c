/* optim_ref.c - see optim_ref.h; compiled for real = float and real = double. The order of operations is PyTorch's. */
#include "nets/optim_ref.h"

#include "core/op/real.h"

/* g is the gradient with whatever decay belongs into it. */
static inline void adam_elem(real *w, real g, real *m, real *v, const optim_coeffs *c)
{
    *m = (real)c->beta1 * *m + (real)(1 - c->beta1) * g;
    *v = (real)c->beta2 * *v + (real)(1 - c->beta2) * g * g;
    *w -= (real)(c->lr / c->correction1) * (*m / (real_sqrt(*v) / (real)sqrt(c->correction2) + (real)c->eps));
}

void REAL_NAME(optim_adam)(real *w, const real *g, real *m, real *v, int64_t n, const optim_coeffs *c)
{
    for (int64_t i = 0; i < n; i++)
        adam_elem(&w[i], g[i] + (real)c->decay * w[i], &m[i], &v[i], c);
}

void REAL_NAME(optim_adamw)(real *w, const real *g, real *m, real *v, int64_t n, const optim_coeffs *c)
{
    for (int64_t i = 0; i < n; i++) {
        w[i] *= (real)(1 - c->lr * c->decay);
        adam_elem(&w[i], g[i], &m[i], &v[i], c);
    }
}

void REAL_NAME(optim_sgd)(real *w, const real *g, real *m, real *v, int64_t n, const optim_coeffs *c)
{
    (void)v;
    for (int64_t i = 0; i < n; i++) {
        m[i] = (real)c->momentum * m[i] + (g[i] + (real)c->decay * w[i]);
        w[i] -= (real)c->lr * m[i];
    }
}
