#include "../compat/metal.h"
#include "../shared/conv.entry.h"
