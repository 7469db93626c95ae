/* Included once per level, with STERN_LEVEL defined and the compiler set to it. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "steps.h"

#define STERN_GLUE_(a, b) a##b
#define STERN_GLUE(a, b) STERN_GLUE_(a, b)
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

#define T float
#define DUST 1e-15f
#define DUST_SQUARED 1e-36f
#define SQRT sqrtf
#define F(name) name##_f32
#include "steps_float.h"
#undef T
#undef SQRT
#undef F
#undef DUST
#undef DUST_SQUARED

#define T double
#define DUST 1e-120
#define DUST_SQUARED 1e-280
#define SQRT sqrt
#define F(name) name##_f64
#include "steps_float.h"
