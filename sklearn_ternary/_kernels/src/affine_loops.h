/* Integer codes with a zero point; included by float_loops.h. */

#define SELECT(mask, a, b) ((V)(((VI)(mask) & (VI)(a)) | (~(VI)(mask) & (VI)(b))))

/* rint: adding and subtracting 2**23 (2**52) leaves no room for a fraction. */
static inline V F(nearest)(V v)
{
    const V big = SPLAT(T_BITS == 32 ? (T)0x1p23 : (T)0x1p52);
    const V signed_big = (V)((VI)big | ((VI)v & ~MAGNITUDE_BITS));
    return SELECT(ABS(v) < big, (v + signed_big) - signed_big, v);
}

/* 64 codes, of one scale and zero point or (`each`) of one for each. */
static inline void F(affine_64)(const T *x, const T *scale, const T *zero_point,
                                const int each, T lowest, T highest, int8_t *out)
{
    INT bits[64];
    for (int k = 0; k < 64; k += N_V) {
        const V s = each ? LOAD(scale + k) : SPLAT(*scale);
        const V z = each ? LOAD(zero_point + k) : SPLAT(*zero_point);
        const V steps = F(nearest)(LOAD(x + k) / s);
        V q = SELECT(s == 0, (V){0}, steps) + z;
        q = SELECT(q > lowest, q, SPLAT(lowest));
        q = SELECT(q < highest, q, SPLAT(highest));
        /* The low byte of this sum is the integer. */
        q += T_BITS == 32 ? (T)0x1.8p23 : (T)0x1.8p52;
        memcpy(bits + k, &q, sizeof q);
    }
    for (int k = 0; k < 64; ++k)
        out[k] = (int8_t)bits[k];
}

static inline void F(affine_run)(const T *x, ptrdiff_t n, const T *scale,
                                 const T *zero_point, const int each, T lowest,
                                 T highest, int8_t *out)
{
    ptrdiff_t i = 0;
    for (; i + 64 <= n; i += 64)
        F(affine_64)(x + i, scale + i * each, zero_point + i * each, each, lowest,
                     highest, out + i);
    if (i < n) {
        T values[64] = {0}, scales[64] = {0}, zeros[64] = {0};
        int8_t codes[64];
        const size_t rest = (size_t)(n - i), used = each ? rest : 1;
        memcpy(values, x + i, rest * sizeof(T));
        memcpy(scales, scale + i * each, used * sizeof(T));
        memcpy(zeros, zero_point + i * each, used * sizeof(T));
        F(affine_64)(values, scales, zeros, each, lowest, highest, codes);
        memcpy(out + i, codes, rest);
    }
}
#undef SELECT

static void F(affine_codes)(const T *x, ptrdiff_t n, T scale, T zero_point, T lowest,
                            T highest, int8_t *out)
{
    F(affine_run)(x, n, &scale, &zero_point, 0, lowest, highest, out);
}

static void F(affine_codes_each)(const T *x, ptrdiff_t n, const T *scale,
                                 const T *zero_point, T lowest, T highest, int8_t *out)
{
    F(affine_run)(x, n, scale, zero_point, 1, lowest, highest, out);
}

static void F(affine_values)(const int8_t *codes, ptrdiff_t n, T scale, T zero_point, T *out)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i] = ((T)codes[i] - zero_point) * scale;
}

static void F(affine_values_each)(const int8_t *codes, ptrdiff_t n, const T *scale,
                                  const T *zero_point, T *out)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i] = ((T)codes[i] - zero_point[i]) * scale[i];
}
