/* Products with a ternary matrix at level "avx2"; the build gives its flags. */
#define STERN_LEVEL avx2
#include "matmul_loops.h"
