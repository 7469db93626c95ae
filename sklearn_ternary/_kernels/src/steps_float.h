/* Loops over a piece, included for float and for double (T). Lanes are one vector of
 * the compiler's, which splits it where registers are shorter. */
#define V F(vec)
typedef T V __attribute__((vector_size(LANES * sizeof(T))));
/* The same in memory: anywhere, and aliasing anything. */
typedef T F(vec_at) __attribute__((vector_size(LANES * sizeof(T)), aligned(1), may_alias));
#define LOAD(p) ((V)(*(const F(vec_at) *)(p)))
#define STORE(p, v) (*(F(vec_at) *)(p) = (F(vec_at))(v))

/* Zeros for what is below a limit; see DUST in _reference/steps.py. */
typedef __typeof__((V){0} < (V){0}) F(mask);
#define CLEAN(x, limit) \
    ((V)((F(mask))(x) & ~(((x) < (limit)) & ((x) > -(limit)))))

/* Values at p, zeros where there are none: a block may end within a vector. */
INLINE void F(load_some)(const T *p, ptrdiff_t count, V *out)
{
    T values[LANES] = {0};
    for (ptrdiff_t j = 0; j < count; ++j)
        values[j] = p[j];
    *out = LOAD(values);
}

INLINE void F(store_some)(T *p, ptrdiff_t count, const V *v)
{
    T values[LANES];
    STORE(values, *v);
    for (ptrdiff_t j = 0; j < count; ++j)
        p[j] = values[j];
}

INLINE void F(root)(V *v)
{
    T values[LANES];
    STORE(values, *v);
    for (int j = 0; j < LANES; ++j)
        values[j] = SQRT(values[j]);
    *v = LOAD(values);
}

/* Lanes folded in halves. */
INLINE double F(fold)(const V *v)
{
    T a[LANES];
    STORE(a, *v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; ++j)
            a[j] += a[j + half];
    return (double)a[0];
}

/* A loop over blocks of vectors: BODY finds s from g, old and p at i, with IN and OUT
 * to load and store; the five sums are made here. */
#define GET(to, from) if (whole) to = LOAD(from + i); else F(load_some)(from + i, end - i, &to)
#define PUT(to, from) if (whole) STORE(to + i, from); else F(store_some)(to + i, end - i, &from)
#define STEP_LOOP(BODY)                                                                 \
    for (ptrdiff_t start = 0; start < n; start += STERN_STEP_BLOCK) {                   \
        const ptrdiff_t end = n - start < STERN_STEP_BLOCK ? n : start + STERN_STEP_BLOCK; \
        V gg = {0}, go = {0}, ss = {0}, gs = {0}, pp = {0};                             \
        for (ptrdiff_t i = start; i < end; i += LANES) {                                \
            const int whole = i + LANES <= end;                                         \
            V g, old, p, s;                                                             \
            GET(g, gradient);                                                           \
            GET(old, direction);                                                        \
            GET(p, parameters);                                                         \
            BODY                                                                        \
            PUT(direction, s);                                                          \
            gg += g * g;                                                                \
            go += g * old;                                                              \
            ss += s * s;                                                                \
            gs += g * s;                                                                \
            pp += p * p;                                                                \
        }                                                                               \
        sums[0] += F(fold)(&gg);                                                        \
        sums[1] += F(fold)(&go);                                                        \
        sums[2] += F(fold)(&ss);                                                        \
        sums[3] += F(fold)(&gs);                                                        \
        sums[4] += F(fold)(&pp);                                                        \
    }

static void F(adamw)(const T *gradient, const T *parameters, T *first, T *second,
                     T *direction, ptrdiff_t n, const T *c, double *sums)
{
    const T scale = c[STERN_STEP_SCALE], decay = c[STERN_STEP_DECAY];
    const T beta_1 = c[STERN_STEP_BETA_1], new_1 = c[STERN_STEP_NEW_1];
    const T beta_2 = c[STERN_STEP_BETA_2], new_2 = c[STERN_STEP_NEW_2];
    const T correction_1 = c[STERN_STEP_CORRECTION_1];
    const T correction_2 = c[STERN_STEP_CORRECTION_2], epsilon = c[STERN_STEP_EPSILON];
    STEP_LOOP({
        V m; V v;
        GET(m, first);
        GET(v, second);
        g *= scale;
        g = CLEAN(g, DUST);
        m = m * beta_1 + new_1 * g;
        m = CLEAN(m, DUST);
        v = v * beta_2 + new_2 * (g * g);
        v = CLEAN(v, DUST_SQUARED);
        PUT(first, m);
        PUT(second, v);
        V root = v * correction_2;
        F(root)(&root);
        /* Beyond the end there is nothing to divide, nor to divide by. */
        s = -((m * correction_1) / (root + epsilon) + decay * p);
        if (!whole) {
            T values[LANES];
            STORE(values, s);
            F(load_some)(values, end - i, &s);
        }
    })
}

static void F(sgd)(const T *gradient, const T *parameters, T *first, T *direction,
                   ptrdiff_t n, const T *c, double *sums)
{
    const T scale = c[STERN_STEP_SCALE], decay = c[STERN_STEP_DECAY];
    const T momentum = c[STERN_STEP_BETA_1];
    STEP_LOOP({
        V m;
        GET(m, first);
        g *= scale;
        g = CLEAN(g, DUST);
        m = m * momentum + g;
        m = CLEAN(m, DUST);
        PUT(first, m);
        s = -(decay * p + m);
    })
}

static void F(shared)(const T *gradient, const T *parameters, T *first,
                      const T *divisors, ptrdiff_t done, ptrdiff_t length, T *direction,
                      ptrdiff_t n, const T *c, double *sums)
{
    const T scale = c[STERN_STEP_SCALE], decay = c[STERN_STEP_DECAY];
    const T beta_1 = c[STERN_STEP_BETA_1], new_1 = c[STERN_STEP_NEW_1];
    const T correction_1 = c[STERN_STEP_CORRECTION_1];
    ptrdiff_t row_end = length - done;
    STEP_LOOP({
        V m; V by = {0};
        GET(m, first);
        g *= scale;
        g = CLEAN(g, DUST);
        m = m * beta_1 + new_1 * g;
        m = CLEAN(m, DUST);
        PUT(first, m);
        for (; row_end <= i; row_end += length)
            ++divisors;
        if (i + LANES <= row_end) {
            by += *divisors;
        } else {
            T values[LANES];
            for (ptrdiff_t j = 0; j < LANES; ++j) {
                for (; row_end <= i + j && i + j < end; row_end += length)
                    ++divisors;
                values[j] = *divisors;
            }
            by = LOAD(values);
        }
        s = -((m * correction_1) / by + decay * p);
    })
}

/* Lanes of double, whatever T is. */
#define WIDE F(wide)
typedef double WIDE __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t F(wide_bits) __attribute__((vector_size(LANES * sizeof(double))));
#define SQUARE(v) ((v) * (v))
#define MAGNITUDE(v) ((WIDE)((F(wide_bits))(v) & INT64_MAX))
INLINE double F(fold_wide)(const WIDE *sum)
{
    double lanes[LANES];
    memcpy(lanes, sum, sizeof lanes);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; ++j)
            lanes[j] += lanes[j + half];
    return lanes[0];
}
#define PART_SUM(NAME, OF)                                                              \
    static double F(NAME)(const T *x, ptrdiff_t end)                                    \
    {                                                                                   \
        WIDE sum = {0};                                                                 \
        for (ptrdiff_t i = 0; i < end; i += LANES) {                                    \
            const int whole = i + LANES <= end;                                         \
            V some;                                                                     \
            GET(some, x);                                                               \
            const WIDE v = __builtin_convertvector(some, WIDE);                         \
            sum += OF(v);                                                               \
        }                                                                               \
        return F(fold_wide)(&sum);                                                      \
    }
PART_SUM(squares, SQUARE)
PART_SUM(magnitudes, MAGNITUDE)

static void F(ternary)(T *gradient, T *residual, ptrdiff_t end, T scale)
{
    for (ptrdiff_t i = 0; i < end; i += LANES) {
        const int whole = i + LANES <= end;
        V g;
        V r;
        GET(g, gradient);
        GET(r, residual);
        r += g * scale;
        PUT(residual, r);
    }
    const double mean = F(magnitudes)(residual, end) / (double)end;
    const V limit = (T)0.7 * (T)mean - (V){0};
    const F(mask) sign = (F(mask))(-(V){0});
    const V one = (T)1 - (V){0};
    WIDE sum = {0}, count = {0};
    for (ptrdiff_t i = 0; i < end; i += LANES) {
        const int whole = i + LANES <= end;
        V r;
        GET(r, residual);
        r = (V)((F(mask))r & ~sign);
        const F(mask) large = ~(r < limit);
        V counted = (V)((F(mask))one & large);
        if (!whole) { /* what is beyond the end does not count */
            T values[LANES];
            STORE(values, counted);
            F(load_some)(values, end - i, &counted);
        }
        count += __builtin_convertvector(counted, WIDE);
        sum += __builtin_convertvector((V)((F(mask))r & large), WIDE);
    }
    const double of_large = F(fold_wide)(&sum) / F(fold_wide)(&count);
    const V level = (T)(0.5 * (of_large + mean)) - (V){0};
    for (ptrdiff_t i = 0; i < end; i += LANES) {
        const int whole = i + LANES <= end;
        V r;
        GET(r, residual);
        const F(mask) bits = (F(mask))r, large = ~((V)(bits & ~sign) < limit);
        const V g = (V)(((F(mask))level | (bits & sign)) & large);
        r -= g;
        PUT(gradient, g);
        PUT(residual, r);
    }
}
#undef WIDE
#undef SQUARE
#undef MAGNITUDE
#undef PART_SUM

static void F(apply)(T *parameters, const T *direction, ptrdiff_t n, T factor)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        STORE(parameters + i, LOAD(parameters + i) + factor * LOAD(direction + i));
    for (; i < n; ++i)
        parameters[i] += factor * direction[i];
}

const F(stern_steps) STERN_GLUE(F(stern_steps), STERN_GLUE(_, STERN_LEVEL)) = {
    F(adamw),
    F(sgd),
    F(shared),
    F(squares),
    F(magnitudes),
    F(ternary),
    F(apply),
};
#undef V
#undef CLEAN
#undef LOAD
#undef STORE
#undef GET
#undef PUT
#undef STEP_LOOP
