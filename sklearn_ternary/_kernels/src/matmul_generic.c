/* Products with a ternary matrix at level "generic"; the build gives its flags. */
#define STERN_LEVEL generic
#include "matmul_loops.h"
