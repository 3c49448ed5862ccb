#include "../compat/cuda.h"
#include "../shared/ssd.entry.h"
