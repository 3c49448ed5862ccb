#include "../compat/metal.h"
#include "../shared/mamba3.entry.h"
