/* Loops of rows at prices at level "avx512"; the build gives the flags of the level. */
#define STERN_LEVEL avx512
#include "transport_loops.h"
