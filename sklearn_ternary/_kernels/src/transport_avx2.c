/* Loops of rows at prices at level "avx2"; the build gives the flags of the level. */
#define STERN_LEVEL avx2
#include "transport_loops.h"
