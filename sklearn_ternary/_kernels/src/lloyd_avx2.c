/* Loops of k-means at level "avx2"; the build gives the flags of the level. */
#define STERN_LEVEL avx2
#include "lloyd_loops.h"
