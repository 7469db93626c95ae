/* Products with a ternary matrix at level "avxvnni"; the build gives its flags. */
#define STERN_LEVEL avxvnni
#include "matmul_loops.h"
