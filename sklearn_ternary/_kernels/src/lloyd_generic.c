/* Loops of k-means at level "generic"; the build gives the flags of the level. */
#define STERN_LEVEL generic
#include "lloyd_loops.h"
