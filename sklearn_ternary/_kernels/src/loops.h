/* Included once per level, with STERN_LEVEL defined and the compiler set to it. */
#include <math.h>
#include <string.h>

#include "quantize.h"

#if defined(__AVX512VBMI__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define STERN_USE_AVX512 1
#include <immintrin.h>
#elif defined(__AVX2__)
#define STERN_USE_AVX2 1
#include <immintrin.h>
#endif

#define STERN_GLUE_(a, b) a##b
#define STERN_GLUE(a, b) STERN_GLUE_(a, b)

#include "foreign_loops.h"
#include "codec_loops.h"

#define T float
#define T_BITS 32
#include "float_loops.h"
#undef T
#undef T_BITS

#define T double
#define T_BITS 64
#include "float_loops.h"
#undef T
#undef T_BITS
