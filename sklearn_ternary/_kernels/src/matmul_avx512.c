/* Products with a ternary matrix at level "avx512"; the build gives its flags. */
#define STERN_LEVEL avx512
#include "matmul_loops.h"
