#include "../compat/metal.h"
#include "../shared/tensor.entry.h"
