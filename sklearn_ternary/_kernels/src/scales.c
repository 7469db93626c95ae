#include "scales.h"

#include <float.h>
#include <math.h>

/* LOWEST, HIGHEST: scales for which nothing on the way can have left the range. */
#define T float
#define F(name) name##_f32
#define NEXTAFTER nextafterf
#define MAX FLT_MAX
#define LOWEST 1e-30f
#define HIGHEST 1e25f
#include "scales_float.h"
#undef T
#undef F
#undef NEXTAFTER
#undef MAX
#undef LOWEST
#undef HIGHEST
#undef SLACK

#define T double
#define F(name) name##_f64
#define NEXTAFTER nextafter
#define MAX DBL_MAX
#define LOWEST 1e-130
#define HIGHEST 1e130
#include "scales_float.h"
